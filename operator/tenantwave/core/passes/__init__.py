"""The passes of the planner, one question each. Their order is in `core.planner`, and only there."""
