"""agent.yaml: from what people write to a `model.Config`, everything that is wrong told at once.

`load` composes; `schema` is the shape; `links`, `devices`, `points`, `commands` and `virtual` read the sections; `certs`, `ports`
and `report` are for `plantroom check`, `desired` for what the platform sends.
"""
