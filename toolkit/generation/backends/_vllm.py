"""Backend ``vllm``: a local model run by vLLM in this process (written against vLLM 0.32).

Contract: as `toolkit.generation.Backend`. The engine is kept full with ``concurrency`` requests and stepped; each request is yielded as soon
as it has finished, so there is no batch barrier. Draws of one prompt share its prefill through vLLM's prefix cache, in whole blocks of
``block_size`` tokens (16 on a GPU, 128 on a CPU). A draw is seeded by its request's key; vLLM does not promise equal text for equal
seeds in another batch. ``finish`` is ``stop`` or ``length``. An ensemble of adapters loads its base once (`toolkit.generation.kept_warm`).
A form (`Request.form`) is filled by the log-probabilities that vLLM gives of a prompt's tokens, 64 forms at a time.
vLLM gets tokens, never text: what a prompt says is text to the model, too (`toolkit.generation._chat`).

Failure semantics: a request that vLLM refuses (too long, not tokenisable) fails as ``bad_request``, one that the engine gives up as
``server_error``. An output without text is an output. A model that vLLM cannot load is an `InputError`, a missing package `Missing`, an
engine that dies `Stopped`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import Stopped, require
from toolkit.common.files import canonical_json
from toolkit.common.models import adapter_config
from toolkit.common.paths import Beside
from toolkit.generation._chat import Chat
from toolkit.generation._config import VllmConfig
from toolkit.generation._logprobs import keep
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation._vocabulary import no_system, takes_no_system
from toolkit.generation.backends import _vllm_engine
from toolkit.generation.backends._fill_forms import Forms, Scored
from toolkit.generation.backends._local import LocalModel

if TYPE_CHECKING:
    from toolkit.guards import Guard

_log = logging.getLogger(__name__)
_FORMS = 64
"""Forms that are filled together: what is done is done that often."""


class VllmBackend(LocalModel):
    """A local model run by vLLM; see the module's docstring.

    Raises:
        Missing: vllm is not installed, or the hub cannot be reached.
        InputError: no such model or adapter, or one trained for another guard.
    """

    endpoint = "vllm"

    def __init__(self, config: VllmConfig, *, beside: Beside = None, guard: Guard | None = None) -> None:
        require("vllm", "vllm", "the backend vllm")
        super().__init__(config, beside, guard)
        self._config = config
        self.parallel = config.concurrency
        self._engine: _vllm_engine.Engine | None = None
        self._chat: Chat | None = None
        self._broken = False
        self._dropped: deque[str] = deque()
        self.read = 0
        """Tokens of prompts so far."""
        self.shared = 0
        """Of these, tokens found in the prefix cache."""

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        """As `Backend.generate`."""
        flying: dict[str, tuple[Request, float, str]] = {}  # by vLLM's outer id: with the time of asking and the inner id
        forms: list[Request] = []
        ended = False
        try:
            while not ended or flying or forms:
                while not ended and len(flying) < self.parallel and len(forms) < _FORMS:
                    try:
                        request = next(requests)
                    except StopIteration:
                        ended = True
                        break
                    if request is None:
                        break
                    if request.form:
                        forms.append(request)
                        continue
                    inner = self._enqueue(request)
                    if isinstance(inner, Completion):
                        yield inner
                    else:  # "<number>-<random>"; its output carries the number alone
                        flying[inner.partition("-")[0]] = (request, time.monotonic(), inner)
                yield from self._given_up(flying)
                if forms and not flying:
                    yield from self._fill(forms)
                    forms = []
                if not flying:
                    continue
                for output in self._step():
                    if output.finished:
                        request, begun, _ = flying.pop(output.request_id)
                        yield self._completion(request, output, time.monotonic() - begun)
        finally:
            if flying and self._engine is not None and not self._broken:  # cut short: the engine must not go on with what nobody waits for
                self._engine.llm.llm_engine.abort_request([inner for _, _, inner in flying.values()], internal=True)

    def drop(self, key: str) -> None:
        """As `Drops.drop`."""
        self._dropped.append(key)

    def _given_up(self, flying: dict[str, tuple[Request, float, str]]) -> Iterator[Completion]:
        """End the work on what was dropped."""
        while self._dropped:
            key = self._dropped.popleft()
            for outer, (request, begun, inner) in list(flying.items()):
                if request.key == key:
                    del flying[outer]
                    self._load().llm.llm_engine.abort_request([inner], internal=True)
                    yield failed(request, "unanswered", "given up: nobody waits for it any more", time.monotonic() - begun)

    def close(self) -> None:
        """Give the engine back: its memory is freed, unless the next model may want it (`toolkit.generation.kept_warm`)."""
        if self._engine is None:
            return
        if self.read:
            _log.info("%d of %d prompt tokens were shared with an earlier prompt", self.shared, self.read)
        engine, self._engine = self._engine, None
        _vllm_engine.give_back(engine, broken=self._broken)

    def _load(self) -> _vllm_engine.Engine:
        if self._engine is None:
            config = self._config
            rank = 0 if self.adapter is None else int((adapter_config(self.adapter) or {}).get("r", 1))
            base = _vllm_engine.Base(self.folder.resolve(), self.tokenizer_folder, config.dtype, config.max_model_len, canonical_json(config.engine))
            self._chat = self._load_chat()
            self._engine, self._broken = _vllm_engine.take(base, rank), False
            self.still()
        return self._engine

    def _step(self) -> list[Any]:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs: list[Any] = self._load().llm.llm_engine.step()
            return outputs
        except EngineDeadError as e:
            raise self._dead() from e

    def _dead(self) -> Stopped:
        self._broken = True
        return Stopped(f"vLLM's engine for {self._config.model} has died; its log above says why", hint="run again: every answer is kept")

    def _fill(self, requests: list[Request]) -> Iterator[Completion]:
        """Fill forms (`Request.form`): each text with a word in its place is a prompt, and vLLM says what the tokens of a prompt had."""
        engine = self._load()
        chat = self._chat
        assert chat is not None  # noqa: S101  loaded with the engine
        asked = []
        for request in requests:
            try:
                asked.append((request, chat.prompt(replace(request, messages=request.messages[:-1])), time.monotonic()))
            except Exception as e:  # noqa: BLE001  template and tokenizer are the model's: whatever they raise costs this request
                words = str(e).encode("ascii", "replace").decode()
                if takes_no_system(words):
                    raise no_system(self._config.model, words) from None
                yield failed(request, "bad_request", f"the prompt cannot be tokenised: {type(e).__name__}: {words}")
        room = engine.llm.llm_engine.model_config.max_model_len - 1  # vLLM writes one token behind each
        yield from Forms(self._scores, chat.tokenizer, chat.end or chat.tokenizer.eos_token_id).answers(asked, room, self._config.model)

    def _scores(self, texts: Sequence[Scored]) -> list[float]:
        """For each text the sum of the log-probabilities of its tokens, from the one that it names on."""
        engine = self._load()
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        adapter = None if self.adapter is None else engine.adapter(self.model_id, self.adapter)
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        try:
            prompts = [{"prompt_token_ids": list(ids)} for ids, _ in texts]
            outputs = engine.llm.generate(prompts, params, use_tqdm=False, lora_request=adapter)
        except EngineDeadError as e:
            raise self._dead() from e
        self.read += sum(len(ids) for ids, _ in texts)
        return [sum(out.prompt_logprobs[n][ids[n]].logprob for n in range(start, len(ids))) for (ids, start), out in zip(texts, outputs, strict=True)]

    def _enqueue(self, request: Request) -> str | Completion:
        """vLLM's inner id of the request, or its failure."""
        engine = self._load()
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        chat = self._chat
        assert chat is not None  # noqa: S101  loaded with the engine
        adapter = None if self.adapter is None else engine.adapter(self.model_id, self.adapter)
        params = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            seed=None if request.seed is None else int(request.key[:16], 16) >> 1,  # 63 bits: what torch takes
            stop=list(request.stop),
            stop_token_ids=chat.ends,
            logprobs=request.logprobs or None,
        )
        try:
            prompt = {"prompt_token_ids": chat.prompt(request)}
            inner: str = engine.llm.enqueue(prompt, params, use_tqdm=False, lora_request=adapter)[0]
            return inner
        except EngineDeadError as e:
            raise self._dead() from e
        except Exception as e:  # noqa: BLE001  template, tokenizer and limits are the model's: whatever they raise costs this request
            words = str(e).encode("ascii", "replace").decode()
            if takes_no_system(words):
                raise no_system(self._config.model, words) from None
            return failed(request, "bad_request", f"{type(e).__name__}: {words}")

    def _completion(self, request: Request, output: Any, seconds: float) -> Completion:
        out = output.outputs[0]
        if out.finish_reason not in ("stop", "length"):
            return failed(request, "server_error", f"vLLM ended it: {out.finish_reason}", seconds)
        prompt = len(output.prompt_token_ids or ())
        self.read += prompt
        self.shared += output.num_cached_tokens or 0
        return Completion(
            request.key,
            out.text,
            out.finish_reason,
            model=self._config.model,
            prompt_tokens=prompt,
            completion_tokens=len(out.token_ids),
            seconds=seconds,
            logprobs=_logprobs(request, out) if request.logprobs else None,
        )


def _logprobs(request: Request, out: Any) -> bytes | None:
    """What is kept of the log-probabilities in vLLM's output: for each token a dict of ids, its own and the likeliest."""
    steps = out.logprobs or []
    tokens = [str(steps[n][token].decoded_token or "") for n, token in enumerate(out.token_ids[: len(steps)])]
    return keep(tokens, lambda n: ((str(one.decoded_token or ""), one.logprob) for one in steps[n].values()), out.text, request.words)
