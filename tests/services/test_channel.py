"""The channel between threads."""

import threading

from services.channel import Channel

PATIENCE_S = 20.0


def test_gives_in_the_order_it_got() -> None:
    channel: Channel[int] = Channel(3)
    for number in range(3):
        channel.put(number)
    assert [channel.get(0) for _ in range(4)] == [0, 1, 2, None]


def test_a_full_channel_makes_the_giver_wait() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    done = threading.Event()

    def give() -> None:
        channel.put(1)
        done.set()

    threading.Thread(target=give).start()
    assert not done.wait(0.1)
    assert channel.get(PATIENCE_S) == 0
    assert done.wait(PATIENCE_S)
    assert channel.get(PATIENCE_S) == 1


def test_closing_frees_those_who_wait() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    done = threading.Event()

    def give() -> None:
        channel.put(1)
        done.set()

    threading.Thread(target=give).start()
    channel.close()
    assert done.wait(PATIENCE_S)
    assert channel.get(0) is None
