"""FastAPI as its tutorial has it, one entry of a Redis stream per webhook."""

import os
from contextlib import asynccontextmanager
from secrets import compare_digest
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from redis.asyncio import Redis

KEY = os.environ["BENCH_KEY"].encode()


@asynccontextmanager
async def store(app: FastAPI):
    """One client; it opens a connection for every request that is under way."""
    async with Redis.from_url(os.environ["BENCH_STORE"]) as redis:
        app.state.redis = redis
        yield


app = FastAPI(lifespan=store)


@app.post("/webhooks/visits")
async def visit(request: Request, api_key: Annotated[str, Header(alias="api-key")]) -> dict[str, str]:
    """Answer after Redis did, which with appendfsync always is after its sync."""
    if not compare_digest(api_key.encode(), KEY):
        raise HTTPException(401)
    await request.app.state.redis.xadd("visits", {"body": await request.body()})
    return {"status": "stored"}
