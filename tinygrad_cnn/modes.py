"""Whether ops record what they do: `no_grad` and `enable_grad`."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
recording: ContextVar[bool] = ContextVar("recording", default=True)


def is_grad_enabled() -> bool:
    """Whether an op on a Tensor that requires grad would be recorded here and now."""
    return recording.get()


class _Mode:
    """A context manager and decorator that sets the recording mode of this thread and async task."""

    _value: bool

    _tokens: list[Token[bool]]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Self:
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
        mode = type(self)
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
