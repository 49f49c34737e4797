"""The bundled pair model: layers, cache, joint training, training on a task, engine."""
