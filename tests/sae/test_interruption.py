"""A signal waits for the loop and then takes its usual effect."""

import signal
import threading

import pytest

from sae.interruption import Interruption


def test_a_signal_is_remembered_and_raised_on_leaving():
    before, seen = signal.getsignal(signal.SIGINT), []

    def interrupted_loop():
        with Interruption() as interruption:
            seen.append(interruption.requested)
            signal.raise_signal(signal.SIGINT)
            seen.append(interruption.requested)

    with pytest.raises(KeyboardInterrupt):
        interrupted_loop()
    assert seen == [None, signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_signal_nothing_happens():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert signal.getsignal(signal.SIGTERM) is not before
    assert interruption.requested is None
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
        assert interruption.requested is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def run():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
