# memory: 1500 MB
# long: yes
"""The same where memory runs out: an allocation that fails is an error of one statement."""

from tools.graph_attack import attack

attack(mutations=1400)
