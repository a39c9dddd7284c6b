"""The gateway's HTTP side: the API of ``gateway/API.md`` and one page for people."""
