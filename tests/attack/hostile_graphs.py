# long: yes
"""No graph brings the server down: lies about sizes, huge tensors, deep nesting, what grows when it is run, files of the server, and
thousands of mutations of an honest one."""

from tools.graph_attack import attack

attack(mutations=600)
