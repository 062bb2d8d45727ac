"""Components that are small and take much to compile (as in crates/sandbox-wasm/tests/bomb)."""

COMPONENT, MODULE = b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0"
I32, EMPTY, LOOP, END, BR_IF, LOCAL_GET, LOCAL_SET, I32_CONST, I32_MUL = 0x7F, 0x40, 0x03, 0x0B, 0x0D, 0x20, 0x21, 0x41, 0x6C


def leb(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def section(number, content):
    return bytes([number]) + leb(len(content)) + content


def of_functions(functions, local_count, code):
    """A component of one core module, whose functions all have so many locals and this code."""
    body = b"\1" + leb(local_count) + bytes([I32]) + code + bytes([END])
    body = leb(len(body)) + body
    types, declared = section(1, b"\1\x60\0\0"), section(3, leb(functions) + bytes(functions))
    return COMPONENT + section(1, MODULE + types + declared + section(10, leb(functions) + body * functions))


def of_memory(local_count=50_000, loops=3_000):
    """Each local is another's value, in each of so many loops within each other: a value for each in each."""
    moves = b"".join(bytes([LOCAL_GET]) + leb(n - 1) + bytes([LOCAL_SET]) + leb(n) for n in range(1, local_count))
    back = b"".join(bytes([LOCAL_GET, 0, BR_IF]) + leb(depth) for depth in range(loops))
    return of_functions(1, local_count, bytes([LOOP, EMPTY]) * loops + moves + back + bytes([END]) * loops)


def of_time(functions=1_500, steps=2_000):
    """Functions that compute for long without a branch."""
    step = bytes([LOCAL_GET, 0, LOCAL_GET, 1, I32_MUL, LOCAL_SET, 0, LOCAL_GET, 0, I32_CONST, 3, I32_MUL, LOCAL_SET, 1])
    return of_functions(functions, 2, step * steps)
