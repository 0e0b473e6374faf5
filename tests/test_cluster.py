"""What TF_CONFIG says, and workers that meet: threads on the ports of this machine."""

import json
import socket
import threading

import pytest
from workers import addresses, config

from kcolor import cluster
from kcolor.errors import ClusterError, DataError, KcolorError


def meet_all(
    count: int,
    *,
    where=None,
    says=lambda index: {},
    differs=lambda theirs: None,
    takes=lambda index: dict,
    wait=20.0,
) -> list:
    """What each of them came to know."""
    where, told = where or addresses(count), [None] * count

    def one(index: int) -> None:
        try:
            task = cluster.Task(tuple(where), index)
            given = {"differs": differs, "takes": takes(index), "wait": wait}
            told[index] = cluster.meet(task, says(index), {"from": index}, **given)
        except KcolorError as error:
            told[index] = str(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in reversed(range(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_what_tf_config_says():
    assert cluster.read(None) is cluster.read("") is cluster.read(config(["a:1"], 0)) is None
    task = cluster.read(config(["a:1", "b:2"], 1))
    assert (task.addresses, task.index, task.chief) == (("a:1", "b:2"), 1, False)
    named = {"cluster": {"worker": ["b:2"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert cluster.read(json.dumps(named)) == task
    named["task"]["type"] = "chief"
    assert cluster.read(json.dumps(named)).chief


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "TF_CONFIG: not JSON"),
        ("[]", "no cluster and task in it"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "no cluster and task in it"),
        (config(["a:1", "b:2"], 2), "the cluster has no worker 2; it has worker 0, worker 1"),
        (config(["a:1", "b"], 0), "b: not an address; write host:port"),
        (config(["a:1", "a:1"], 0), "two workers have the same address"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "with workers alone, without ps"),
    ],
)
def test_a_tf_config_that_says_nothing_of_use(given, told):
    with pytest.raises(ClusterError, match=told) as refused:
        cluster.read(given)
    assert "\n" not in str(refused.value)


def test_all_are_told_what_the_chief_tells():
    assert meet_all(3) == [{"from": 0}] * 3


def test_one_that_differs_is_named_to_all():
    def differs(theirs):
        return "is odd" if theirs["number"] == 2 else None

    told = meet_all(3, says=lambda index: {"number": index}, differs=differs, wait=3.0)
    assert "worker 2 (127.0.0.1:" in told[0]
    assert told[0].endswith("is odd")
    assert told[1:] == [told[0]] * 2


def test_one_that_cannot_take_what_it_is_told_is_named_to_all():
    """None goes on to where TensorFlow would wait for it."""

    def takes(told):
        raise DataError("no photos here")

    told = meet_all(3, takes=lambda index: takes if index == 2 else dict, wait=5.0)
    assert "worker 2 (127.0.0.1:" in told[0]
    assert told[0].endswith("cannot go on: no photos here")
    assert told[1:] == [told[0], "no photos here"]


def test_one_that_came_and_has_gone_is_not_gone_on_without():
    where = addresses(3)
    tasks = [cluster.Task(tuple(where), index) for index in range(3)]
    told = {}

    def one(index):
        try:
            told[index] = cluster.meet(tasks[index], {}, {}, differs=lambda theirs: None, wait=10.0)
        except ClusterError as error:
            told[index] = str(error)

    chief = threading.Thread(target=one, args=(0,))
    chief.start()
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", int(where[0].rpartition(":")[2])))
            break
        except ConnectionRefusedError:
            continue
    cluster._send(connection, {"hello": "kcolor fit", "worker": 1, "addresses": where, "says": {}})
    connection.close()
    one(2)
    chief.join()
    assert told[0] == told[2]
    assert f"worker 1 ({where[1]}) came and has gone again" in told[0]


def test_addresses_of_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    ipv6 = [address.replace("127.0.0.1", "[::1]") for address in addresses(2)]
    assert meet_all(2, where=ipv6, wait=5.0) == [{"from": 0}] * 2


def test_one_that_does_not_come():
    where = addresses(2)
    for index, missing in ((0, 1), (1, 0)):
        with pytest.raises(ClusterError, match=rf"worker {missing} \({where[missing]}\) did not come within 0.01 min"):
            cluster.meet(cluster.Task(tuple(where), index), {}, {}, differs=lambda theirs: None, wait=0.6)


def test_a_port_that_is_in_use():
    where = addresses(2)
    with (
        socket.create_server(("", int(where[0].rpartition(":")[2]))),
        pytest.raises(ClusterError, match=r"worker 0 .* is in use; end what uses it, or name another"),
    ):
        cluster.meet(cluster.Task(tuple(where), 0), {}, {}, differs=lambda theirs: None, wait=1.0)


def test_strangers_who_knock_are_not_workers():
    where = addresses(2)

    def knock():
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"", b"\0" * 7 + b"\x02{}"):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", int(where[0].rpartition(":")[2]))) as connection:
                        connection.sendall(words)
                        break
                except ConnectionRefusedError:
                    continue

    def come():
        knock()
        cluster.meet(cluster.Task(tuple(where), 1), {}, {}, differs=lambda theirs: None, wait=20.0)

    other = threading.Thread(target=come)
    other.start()
    told = cluster.meet(cluster.Task(tuple(where), 0), {}, {"it": 1}, differs=lambda theirs: None, wait=20.0)
    other.join()
    assert told == {"it": 1}
