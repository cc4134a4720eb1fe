from pathlib import Path

import pytest

from bids_qsmthal.app import options
from bids_qsmthal.view import listening


def machine(root: Path, mark: str, interfaces: dict[str, tuple[int, int]]) -> Path:
    """Write what Linux says of a machine; of each interface its own number and the other end's."""
    for name, (own, other) in interfaces.items():
        folder = root / "sys" / "class" / "net" / name
        folder.mkdir(parents=True)
        (folder / "ifindex").write_text(f"{own}\n", "ascii")
        (folder / "iflink").write_text(f"{other}\n", "ascii")
    if mark:
        (root / mark).parent.mkdir(parents=True, exist_ok=True)
        (root / mark).touch()
    return root


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_in_a_container_with_its_own_network_a_published_port_arrives(tmp_path, mark) -> None:
    root = machine(tmp_path, mark, {"lo": (1, 1), "eth0": (7, 8)})
    assert listening.address(root) == listening.EVERYWHERE


@pytest.mark.parametrize(
    ("mark", "interfaces"),
    [
        ("", {"lo": (1, 1), "eth0": (7, 8)}),
        (".dockerenv", {"lo": (1, 1), "eth0": (2, 2)}),
        (".dockerenv", {"lo": (1, 1), "eth0": (2, 2), "veth1": (5, 4)}),
        (".dockerenv", {"lo": (1, 1)}),
        (".dockerenv", {}),
    ],
    ids=["no container", "network host", "network host beside containers", "no network", "unknown"],
)
def test_else_it_is_open_to_this_machine_alone(tmp_path, mark, interfaces) -> None:
    assert listening.address(machine(tmp_path, mark, interfaces)) == listening.HERE


@pytest.mark.parametrize(
    ("mark", "interfaces", "expected"),
    [
        (".dockerenv", {"lo": (1, 1)}, True),
        (".dockerenv", {"lo": (1, 1), "eth0": (7, 8)}, False),
        ("", {"lo": (1, 1)}, False),
    ],
)
def test_only_a_container_without_a_network_is_cut_off(tmp_path, mark, interfaces, expected):
    assert listening.is_cut_off(machine(tmp_path, mark, interfaces)) is expected


def test_an_interface_that_says_nothing_is_taken_for_one_of_the_machine(tmp_path) -> None:
    root = machine(tmp_path, ".dockerenv", {"lo": (1, 1), "eth0": (7, 8)})
    for name in ("iflink", "ifindex"):
        (root / "sys/class/net/eth0" / name).unlink()
    assert listening.address(root) == listening.HERE


def test_an_address_that_is_named_is_taken() -> None:
    assert options.view_parser().parse_args(["out", "--host", "::1"]).host == "::1"
    assert options.view_parser().parse_args(["out"]).host is None
