"""Deploys stack.yml to an OpenFaaS gateway, and checks a running deployment from outside."""
