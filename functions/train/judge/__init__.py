"""How good a version is, and whether it becomes champion."""
