"""What a node says of itself."""

from alexnet.adapters import node_metrics


def test_shares_are_percentages_under_the_nodes_name():
    found = node_metrics.of_node("node-3")
    assert all(name.startswith("system/node-3/") for name in found)
    shares = {name: value for name, value in found.items() if name.endswith("_percentage")}
    assert {"cpu_utilization", "system_memory_usage"} <= {
        name.removeprefix("system/node-3/").removesuffix("_percentage") for name in shares
    }
    assert all(0 <= value <= 100 for value in shares.values())
