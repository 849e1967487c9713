"""Before several processes start to compute together: is every one of them there?

JAX would wait too, but ends a process with a C++ stack trace when another one does not come. Here
the answer is an error that says who is missing.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from osvos_keras.errors import ClusterError, ConfigError

PAUSE = 0.2  # seconds between two attempts to reach the coordinator
GO = b"go\n"


def parse_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` as host and port.

    Raises:
        ConfigError: it is something else.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise ConfigError(
            f"the coordinator is {address!r}; it must be HOST:PORT, the name of the machine that runs "
            "process 0 and a free port there, such as node1:8476."
        )
    return host.strip("[]"), int(port)


def check_place(address: str, count: int, index: int) -> None:
    """See that a process can be number `index` of `count`, which meet at `address`.

    Raises:
        ConfigError: it cannot.
    """
    parse_address(address)
    if not 0 <= index < count:
        raise ConfigError(f"--process is {index}; with --processes {count} it must be 0 to {count - 1}.")


def call_roll(address: str, count: int, index: int, wait: float) -> None:
    """Return when all `count` processes have called this; process 0 listens, the others call it.

    Args:
        address: `HOST:PORT` of process 0.
        count: how many processes there are.
        index: which one this is.
        wait: seconds after which to give up.

    Raises:
        ConfigError: the address is none, or two processes disagree about `count`.
        ClusterError: process 0 cannot be reached, or another one did not come.
    """
    host, port = parse_address(address)
    deadline = time.monotonic() + wait
    if index == 0:
        _gather(port, count, wait, deadline)
    elif not any(_report(host, port, count, index, left) for left in _attempts(deadline)):
        raise ClusterError(
            f"process {index}: process 0 did not answer at {address} within {wait:g} s, or another process "
            "is missing. Start the same command on every machine, each with its own --process; see that "
            f"{host} is the machine of process 0 and that no firewall closes port {port}."
        )


def _gather(port: int, count: int, wait: float, deadline: float) -> None:
    """Process 0: collect the calls of all others, then answer them all."""
    calls = {}
    with ExitStack() as stack:
        server = stack.enter_context(_listen(port))
        for left in _attempts(deadline, pause=0):
            if len(calls) == count - 1:
                calls = {caller: call for caller, call in calls.items() if _is_there(call)}
            if len(calls) == count - 1:
                break
            server.settimeout(left)
            try:
                call, _ = server.accept()
            except TimeoutError:
                continue
            stack.enter_context(call)
            caller = _read_caller(call, count)
            if caller is not None:
                calls[caller] = call  # a process that was started again takes the place of its first call
        missing = sorted(set(range(1, count)) - set(calls))
        if missing:
            raise ClusterError(
                f"process 0: no call from process {', '.join(map(str, missing))} of {count} within "
                f"{wait:g} s on port {port}. Start the same command on every machine, each with its "
                "own --process."
            )
        for call in calls.values():
            with suppress(OSError):  # died just now, which JAX will find
                call.sendall(GO)


def _listen(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise ClusterError(
            f"process 0: cannot listen on port {port} ({error.strerror}). Choose another port for "
            "--coordinator, the same on every machine."
        ) from error


def _read_caller(call: socket.socket, count: int) -> int | None:
    """The index of the process that calls; None if it is something else, such as a port scanner."""
    call.settimeout(2)
    try:
        index, theirs = map(int, call.makefile().readline(100).split())
    except (OSError, ValueError):
        return None
    if theirs != count:
        call.sendall(b"processes\n")
        raise ConfigError(f"process {index} was started with --processes {theirs}, process 0 with {count}.")
    return index if 0 < index < count else None


def _is_there(call: socket.socket) -> bool:
    """Whether a caller still waits for its answer, rather than having died in the meantime."""
    call.setblocking(False)
    try:
        return call.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        call.setblocking(True)


def _report(host: str, port: int, count: int, index: int, left: float) -> bool:
    """Call process 0 and wait for its answer; whether it came."""
    try:
        with socket.create_connection((host, port), timeout=left) as call:
            call.sendall(f"{index} {count}\n".encode())
            answer = call.makefile("rb").readline(100)
    except OSError:
        return False
    if answer not in (GO, b""):  # nothing: process 0 has ended, and may be started again
        raise ConfigError(
            f"process {index} was started with --processes {count}, process 0 with another number."
        )
    return answer == GO


def _attempts(deadline: float, pause: float = PAUSE) -> Iterator[float]:
    """The seconds left, again and again until there are none."""
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(min(pause, left))
