from collections import Counter

from pipeline.collectors.catalogue import load

TYPES = {"float", "integer", "string", "boolean"}


def test_every_entry_is_complete() -> None:
    for entry in load():
        assert entry.measurement
        assert entry.field
        assert entry.type in TYPES
        assert (entry.kind == "text") == (entry.type == "string")
        assert entry.kind in {"gauge", "counter", "text"}
        assert entry.unit
        assert entry.meaning


def test_every_field_is_listed_once() -> None:
    counted = Counter((entry.measurement, entry.field) for entry in load())
    assert {field for field, times in counted.items() if times > 1} == set()


def test_fields_of_a_measurement_share_its_tags() -> None:
    tags: dict[str, set[tuple[str, ...]]] = {}
    for entry in load():
        tags.setdefault(entry.measurement, set()).add(entry.tags)
    several = {name for name, different in tags.items() if len(different) > 1}
    # The agent, and each collector; all connections, and each processor's; all units, and each.
    assert several == {"metrics_agent", "conntrack", "systemd_units"}


def test_share_is_a_float() -> None:
    assert {entry.type for entry in load() if entry.unit == "percent"} == {"float"}


def test_entry_as_written() -> None:
    (entry,) = (each for each in load() if (each.measurement, each.field) == ("disk", "total"))
    assert entry.type == "integer"
    assert entry.unit == "bytes"
    assert entry.tags == ("device", "fstype", "mode", "path")
    assert entry.meaning == "Size of the file system"


def test_what_counts_since_something_began_is_a_counter() -> None:
    counting = {entry for entry in load() if "since boot" in entry.meaning.lower()}
    assert len(counting) > 20
    assert {entry.kind for entry in counting if entry.type != "string"} == {"counter"}
