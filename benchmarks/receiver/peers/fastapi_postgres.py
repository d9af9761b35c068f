"""FastAPI as its tutorial has it, one PostgreSQL insert per webhook, committed with PostgreSQL's own defaults."""

import os
from contextlib import asynccontextmanager
from secrets import compare_digest
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request

KEY = os.environ["BENCH_KEY"].encode()


@asynccontextmanager
async def database(app: FastAPI):
    """A pool as wide as the measurement has connections, and the table."""
    async with asyncpg.create_pool(os.environ["BENCH_STORE"], min_size=32, max_size=32) as pool:
        await pool.execute(
            "create table if not exists visits"
            " (id bigserial primary key, received_at timestamptz not null default now(), body text not null)"
        )
        app.state.pool = pool
        yield


app = FastAPI(lifespan=database)


@app.post("/webhooks/visits")
async def visit(request: Request, api_key: Annotated[str, Header(alias="api-key")]) -> dict[str, str]:
    """Answer after the commit."""
    if not compare_digest(api_key.encode(), KEY):
        raise HTTPException(401)
    body = (await request.body()).decode()
    await request.app.state.pool.execute("insert into visits (body) values ($1)", body)
    return {"status": "stored"}
