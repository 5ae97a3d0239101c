"""What learning costs: the paper's calculated figures, and the predicted peak of our own runtime.

Other modules call these:

- :func:`lightcl_host.cost.cut_figures.cut_manifest`: the counts of a bundle cut at a place, without exporting it.
- :func:`lightcl_host.cost.prediction.predict`: peak memory of each phase, disk, for an engine and a batch size.
- :func:`lightcl_host.cost.prediction.task_multiply_adds`: work of a task, and of training the whole network instead.
- :mod:`lightcl_host.cost.paper`: memory and operations as the paper calculates them.
- :mod:`lightcl_host.benchmark.plan_check`: predicted against measured, on this machine.
"""
