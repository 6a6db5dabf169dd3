"""Calls Keyhouse with the official OpenAI package and with requests; prints what came back as one JSON object."""

import json
import sys
import time

import openai
import requests

url, key, admin_key = sys.argv[1:4]
client = openai.OpenAI(api_key=key, base_url=f"{url}/v1")
messages = [{"role": "user", "content": "hello there"}]
found = {}


def failure(call):
    try:
        call()
    except openai.APIError as error:
        status = getattr(error, "status_code", None)
        return {"class": type(error).__name__, "status": status, "code": error.code, "param": error.param}
    return None


chat = client.chat.completions.create(model="m", messages=messages)
found["chat"] = {"text": chat.choices[0].message.content, "finish_reason": chat.choices[0].finish_reason}
found["request_id"] = chat._request_id

stream = client.chat.completions.create(
    model="m", messages=messages, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
found["stream"] = {
    "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
    "usage": chunks[-1].usage.total_tokens,
}
found["whole_usage"] = chat.usage.total_tokens

completion = client.completions.create(model="m", prompt="once upon", max_tokens=5)
streamed = client.completions.create(model="m", prompt="once upon", max_tokens=5, stream=True)
found["completion"] = completion.choices[0].text
found["completion_stream"] = "".join(chunk.choices[0].text for chunk in streamed)

base64 = client.embeddings.create(model="e", input=["one", "two"])
floats = client.embeddings.create(model="e", input=["one", "two"], encoding_format="float")
found["embeddings"] = {
    "sizes": [len(item.embedding) for item in base64.data],
    "equal": all(abs(a - b) < 1e-6 for a, b in zip(base64.data[1].embedding, floats.data[1].embedding)),
}

found["models"] = [model.id for model in client.models.list()]
found["retrieved"] = client.models.retrieve("m").id

wrong = openai.OpenAI(api_key="sk-wrong", base_url=f"{url}/v1")
found["errors"] = {
    "wrong key": failure(lambda: wrong.models.list()),
    "admin key": failure(lambda: openai.OpenAI(api_key=admin_key, base_url=f"{url}/v1").models.list()),
    "unknown model": failure(lambda: client.chat.completions.create(model="nobody", messages=messages)),
    "wrong parameter": failure(lambda: client.chat.completions.create(model="m", messages=messages, max_tokens=-1)),
    "wrong type": failure(lambda: client.chat.completions.create(model="m", messages=messages, n="two")),
    "no credit": failure(lambda: client.chat.completions.create(model="m", messages=messages, max_tokens=9_000_000)),
    "cut stream": failure(
        lambda: list(client.chat.completions.create(model="m", messages=messages, user="cut", stream=True))
    ),
}

started = time.monotonic()
found["errors"]["provider's wait"] = failure(
    lambda: client.with_options(max_retries=1).chat.completions.create(model="m", messages=messages, user="busy")
)
found["waited_seconds"] = time.monotonic() - started

classic = requests.post(
    f"{url}/v1/engines/davinci-codex/completions",
    headers={"Authorization": f"Bearer {key}"},
    json={"prompt": "def hello():", "max_tokens": 100},
)
found["classic"] = {
    "status": classic.status_code,
    "content_type": classic.headers["content-type"],
    "text": classic.json()["choices"][0]["text"],
}

json.dump(found, sys.stdout)
