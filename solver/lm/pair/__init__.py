"""The pair model that the kit bundles: its layers, its training on a task, its engine."""
