from dataclasses import replace
from l0_core._port import Facts, Chunk
class Plain:
    def text(self, chunk): return chunk if isinstance(chunk,str) else None
    def facts(self, chunk):
        if isinstance(chunk,str): return Facts(chunk)
        return Facts(chunk.text, bool(chunk.reasoning), tuple(chunk.tools), chunk.opaque, chunk.finish_reason, None, chunk.usage, chunk.logprob, chunk.sequence)
    def cut(self, chunk, start, end, shown): return chunk[start:end] if isinstance(chunk,str) else replace(chunk, text=chunk.text[start:end])
    def final(self, md): return None
PLAIN=Plain()
