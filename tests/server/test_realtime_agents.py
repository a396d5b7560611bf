"""`/v1/realtime` with the agents SDKs of OpenAI, Python and JavaScript, as they come."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.realtime_clients import KEY, RATE, Live, pcm

NODE_MODULES = Path(os.environ.get("OSUM_NODE_MODULES", "node_modules"))
"""Where `npm install @openai/agents-realtime` has put it."""
SCRIPT = Path(__file__).with_name("realtime_agent.mjs")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    server = Live()
    yield server
    server.stop()


def test_the_python_agents_sdk_talks_and_is_interrupted(live: Live) -> None:
    agents = pytest.importorskip("agents.realtime", reason="openai-agents is not installed")

    async def talk() -> tuple[list[str], int, list[Any]]:
        runner = agents.RealtimeRunner(agents.RealtimeAgent(name="osum", instructions="be brief"))
        config = {"url": f"ws://127.0.0.1:{live.port}/v1/realtime?model=nano", "api_key": KEY}
        kinds, sound = [], 0
        async with await runner.run(model_config=config) as session, asyncio.timeout(60):
            await session.send_audio(pcm())
            interrupted = False
            async for event in session:
                kinds.append(event.type)
                assert event.type != "error", event
                if event.type == "audio":
                    sound += len(event.audio.data)
                    if not interrupted:
                        interrupted = True
                        await session.send_audio(pcm("en_child_boy.flac", silence=0.0) + bytes(RATE))
                if event.type == "audio_interrupted":
                    break
            await asyncio.sleep(1)
            return kinds, sound, session._history

    kinds, sound, history = asyncio.run(talk())
    assert "audio" in kinds and "audio_interrupted" in kinds and sound > 0
    assert {item.role for item in history} >= {"user", "assistant"}


def test_the_javascript_agents_sdk_talks(live: Live, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "@openai" / "agents-realtime").is_dir():
        pytest.skip("node, or @openai/agents-realtime in OSUM_NODE_MODULES, is not there")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES.resolve())
    script, sound = tmp_path / SCRIPT.name, tmp_path / "question.pcm"
    shutil.copy(SCRIPT, script)
    sound.write_bytes(pcm())
    url = f"ws://127.0.0.1:{live.port}/v1/realtime?model=nano"
    done = subprocess.run([node, script, url, KEY, sound], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["errors"] == [] and report["bytes"] > RATE
    assert [item["role"] for item in report["history"]] == ["user", "assistant"]
    assert all(item["status"] == "completed" for item in report["history"])
