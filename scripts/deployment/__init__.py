"""Deploys stack.yml to an OpenFaaS gateway, and tests a running deployment from outside."""
