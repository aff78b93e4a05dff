"""What Ray Train's controller runs of ours: the workers' process group, and failures.

The controller is a process that starts before the workers do. Nothing here imports torch, which
would take it seconds that everybody waits for.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray._common.network_utils import build_address  # type: ignore[attr-defined]
from ray.exceptions import GetTimeoutError
from ray.train import UserCallback
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

from alexnet.errors import AlexNetError, StoreUnavailableError
from alexnet.telemetry.events import Event

LEAVE_S = 30.0
"""How long workers may take to leave their process group; Ray's own limit for it."""


@dataclass
class ProcessGroup(BackendConfig):
    """Joins the workers in a process group of `torch.distributed`, as Ray's `TorchConfig` does."""

    backend: str
    """`nccl` or `gloo`."""
    timeout_s: float
    """How long one that does not answer is waited for."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What does it."""
        return _ProcessGroupBackend


class _ProcessGroupBackend(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        address = build_address(*worker_group.execute_single(0, get_address_and_port))
        number = len(worker_group)
        group = (backend_config.backend, backend_config.timeout_s, f"tcp://{address}", number)
        joined = [
            worker_group.execute_single_async(rank, _join, rank, *group) for rank in range(number)
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        del backend_config
        with suppress(GetTimeoutError):  # they end all the same
            ray.get(worker_group.execute_async(_leave), timeout=LEAVE_S)


def _join(rank: int, backend: str, timeout_s: float, url: str, number: int) -> None:
    """Runs in each worker."""
    import torch.distributed as dist

    # As Ray sets it: what ends a process for a broken collective also aborts its communicators.
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    timeout = timedelta(seconds=timeout_s)
    dist.init_process_group(backend, url, timeout, world_size=number, rank=rank)


def _leave() -> None:
    """Runs in each worker."""
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.destroy_process_group()


@dataclass
class Failures(UserCallback):
    """Tells of failures, and ends the run at once on what no restart fixes: wrong or missing data.

    Ray would restart the workers `max_failures` times into the same error. An exception out of
    this callback ends the run. A store that does not answer is left to the restarts.
    """

    mailbox: Any
    """Handle of the actor that passes events to the driver."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Any]) -> None:
        """Raise what a user can fix, else tell why the workers start again."""
        del run_context
        for failure in worker_exceptions.values():
            cause = user_error(failure)
            if cause and not isinstance(cause, StoreUnavailableError):
                raise cause
        # Where one is gone, the others fail too, and earlier: theirs is not the reason.
        reasons = {rank: reason(failure) for rank, failure in sorted(worker_exceptions.items())}
        own = {rank: text for rank, text in reasons.items() if text != ECHO}
        rank, text = next(iter((own or reasons).items()))
        self.mailbox.put.remote(failed(f"worker {rank}: {text}"))


def failed(why: str) -> Event:
    """The event that workers are to start again."""
    return Event(kind="failed", step=0, steps=0, epoch=0.0, text=why)


ECHO = "lost the connection to another worker"


def reason(failure: BaseException) -> str:
    """Why a worker failed, in one short line."""
    cause = user_error(failure)
    *_, innermost = _unwrapped(failure)
    if any(isinstance(error, ray.exceptions.RayActorError) for error in _unwrapped(failure)):
        return "its process or its node died"
    text = str(cause or innermost).strip()
    if any(word in text for word in ("gloo", "NCCL", "Connection closed by peer")):
        return ECHO
    return next(iter(text.splitlines()), repr(innermost))[:200]


def user_error(error: BaseException) -> AlexNetError | None:
    """The error a user can fix inside Ray's wrappings, if there is one."""
    return next((item for item in _unwrapped(error) if isinstance(item, AlexNetError)), None)


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """The error and all that Ray has wrapped in it, outermost first."""
    seen: list[Any] = [error]
    for item in seen:  # grows while it is walked
        yield item
        wrapped = [getattr(item, name, None) for name in _WRAPPINGS]
        seen += [inner for inner in wrapped if isinstance(inner, BaseException)]
        seen += list((getattr(item, "worker_failures", None) or {}).values())


_WRAPPINGS = ("controller_failure", "_base_exc", "cause", "__cause__")
