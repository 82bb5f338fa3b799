"""The yardstick for `guardkit generate`: the same prompts by hand on aiohttp, as a good engineer would write it once; no journal, no resume, nothing named."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import suppress

import aiohttp


async def main(url: str, source: str, output: str, concurrency: int, timeout: float, retries: int) -> None:
    """Ask every line of `source`, write what came to `output`."""
    with open(source) as file:  # noqa: PTH123
        lines = iter([json.loads(line) for line in file])
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout)) as session:
        with open(output, "w") as out:  # noqa: PTH123

            async def worker() -> None:
                for row in lines:
                    messages = [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["user"]}]
                    body = json.dumps({"model": "bench", "temperature": 0, "messages": messages}).encode()
                    for attempt in range(retries + 1):
                        wait = min(30, 0.5 * 2**attempt) * random.uniform(0.5, 1)
                        with suppress(aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError):
                            async with session.post(url + "/chat/completions", data=body, headers={"content-type": "application/json"}) as answer:
                                raw = await answer.read()
                                if answer.status == 200:
                                    text = json.loads(raw)["choices"][0]["message"]["content"]
                                    out.write(json.dumps({"id": row["id"], "content": text}) + "\n")
                                    break
                                wait = float(answer.headers.get("retry-after", wait))
                        await asyncio.sleep(wait)

            await asyncio.gather(*(worker() for _ in range(concurrency)))


if __name__ == "__main__":
    with suppress(ImportError):
        import uvloop

        uvloop.install()
    a = sys.argv[1:]
    asyncio.run(main(a[0], a[1], a[2], int(a[3]), float(a[4]), int(a[5])))
