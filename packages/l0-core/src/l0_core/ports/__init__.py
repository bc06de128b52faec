from l0_core.ports.plain import PLAIN
class UnknownChunk(TypeError): ...
def port_for(chunk):
    from l0_core._port import Chunk
    if isinstance(chunk,(str,Chunk)): return PLAIN
    raise UnknownChunk(f"no port for chunks of {type(chunk).__name__}")
def abort(stream): return False
