"""Whether ops record what they do: `no_grad`, `enable_grad`, `set_grad_enabled` and `inference_mode`."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
recording: ContextVar[bool] = ContextVar("recording", default=True)
replaying: ContextVar[bool] = ContextVar("replaying", default=False)  # a checkpoint computes again what has been done


def is_grad_enabled() -> bool:
    """Whether an op on a Tensor that requires grad would be recorded here and now."""
    return recording.get()


class _Mode:
    """A context manager and decorator that sets the recording mode of this thread and async task."""

    _value: bool

    _tokens: list[Token[bool]]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Self:
        if function is not None and not callable(function):
            raise TypeError(
                f"{cls.__name__}: a {type(function).__name__} was given; a function to decorate, or nothing, is needed"
            )
        mode = super().__new__(cls)
        mode._tokens = []
        return mode if function is None else mode(function)  # type: ignore[return-value]

    def __enter__(self) -> Self:
        self._tokens.append(recording.set(self._value))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        """Run `function` (plain, generator, async or both) in this mode; a generator's caller keeps its own."""
        mode = enable_grad if self._value else no_grad
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def resumed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                return _run_resumed(mode, function(*args, **kwargs))

            return resumed  # type: ignore[return-value]
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            def streamed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
                return _run_streamed(mode, function(*args, **kwargs))

            return streamed  # type: ignore[return-value]
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with mode():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]


def _run_resumed(mode: type[_Mode], generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    resume: Callable[[], Any] = functools.partial(next, generator)
    while True:
        try:
            with mode():
                item = resume()
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            with mode():
                generator.close()
            raise
        except BaseException as error:
            resume = functools.partial(generator.throw, error)
        else:
            resume = functools.partial(generator.send, sent)


async def _run_streamed(mode: type[_Mode], generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    resume: Callable[[], Any] = generator.__anext__
    while True:
        try:
            with mode():
                item = await resume()
        except StopAsyncIteration:
            return
        try:
            sent = yield item
        except GeneratorExit:
            with mode():
                await generator.aclose()
            raise
        except BaseException as error:
            resume = functools.partial(generator.athrow, error)
        else:
            resume = functools.partial(generator.asend, sent)


class no_grad(_Mode):
    """Compute without recording: `with no_grad():`, or `@no_grad()` on a function, generator or coroutine.

    Holds for this thread and async task only, and is restored when an exception leaves the block.
    """

    _value = False


class enable_grad(_Mode):
    """Record again inside a `no_grad` block. Same forms as `no_grad`."""

    _value = True


class inference_mode(_Mode):
    """no_grad under PyTorch's other name. Its results are ordinary Tensors, which a graph may use later.

    mode: False records, as `enable_grad` does. Raises TypeError unless it is a bool.
    """

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Self:
        if callable(mode):
            return inference_mode()(mode)  # type: ignore[return-value]
        made = super().__new__(cls)
        made._value = not _checked(mode, "inference_mode")
        return made


class set_grad_enabled(_Mode):
    """Record from here on, or stop: a call holds at once, a `with` block until it ends, a decorator for its function.

    Raises TypeError unless mode is a bool.
    """

    _before: bool

    def __new__(cls, mode: bool) -> Self:
        made = super().__new__(cls)
        made._value, made._before = _checked(mode, "set_grad_enabled"), recording.get()
        recording.set(mode)
        return made

    def __enter__(self) -> Self:
        recording.set(self._value)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording.set(self._before)

    def __call__(self, function: F) -> F:
        """Run `function` in this mode, and leave the mode here as it was."""
        recording.set(self._before)
        return super().__call__(function)


def _checked(mode: Any, name: str) -> bool:
    if not isinstance(mode, bool):
        raise TypeError(f"{name}: mode is {mode!r}; True or False is needed")
    return mode
