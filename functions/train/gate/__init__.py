"""Whether a version becomes champion, and how the alias moves."""
