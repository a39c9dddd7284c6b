"""The one thread of a process that touches PKCS#11."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from edgeseal.errors import Unavailable, UsageError

CALL_TIMEOUT_S = 120.0
"""How long a call waits for the token, its turn included, before it is called unavailable."""

_Result = TypeVar("_Result")


class TokenThread:
    """Runs jobs one after another on a thread of its own, started with the first job."""

    def __init__(self) -> None:
        self._start = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._process = 0

    def run(self, job: Callable[[], _Result]) -> _Result:
        """Run ``job`` on the thread; return what it returns, raise what it raises, or Unavailable ``token_timeout``."""
        with self._start:
            if not self._process:
                threading.Thread(target=self._work, name="pkcs11", daemon=True).start()
                self._process = os.getpid()
            if self._process != os.getpid():
                # A token library does not survive a fork: on a TPM the child's first call would break the parent.
                raise UsageError("token_after_fork", "a forked process may not use its parent's token", "use spawn")
        future: Future[_Result] = Future()
        self._jobs.put((job, future))
        try:
            return future.result(CALL_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable("token_timeout", f"the token did not answer within {CALL_TIMEOUT_S:.0f} s") from error

    def _work(self) -> None:
        while True:
            job, future = self._jobs.get()
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
            del job, future


THREAD: Final = TokenThread()
"""The only one there is in a process."""
