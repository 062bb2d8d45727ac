//! Writes components that are small and take much to compile.

pub const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const I32: u8 = 0x7f;
const EMPTY: u8 = 0x40;
const LOOP: u8 = 0x03;
const END: u8 = 0x0b;
const BR_IF: u8 = 0x0d;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const I32_CONST: u8 = 0x41;
const I32_MUL: u8 = 0x6c;

/// An unsigned number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// A component with one section.
pub fn component_of(id: u8, content: &[u8]) -> Vec<u8> {
    [COMPONENT, &section(id, content)].concat()
}

/// One core module and nothing else: it is compiled, and then found to be of no world.
pub fn of_module(module: Vec<u8>) -> Vec<u8> {
    component_of(1, &module)
}

/// A module of functions without parameters and results, each with so many locals and this code.
fn module(functions: usize, locals: usize, code: &[u8]) -> Vec<u8> {
    let body = [&[1][..], &leb(locals), &[I32], code, &[END]].concat();
    let body = [leb(body.len()), body].concat();
    let types = section(1, &[1, 0x60, 0, 0]);
    let declared = section(3, &[leb(functions), vec![0; functions]].concat());
    let bodies = section(10, &[leb(functions), body.repeat(functions)].concat());
    [MODULE, &types, &declared, &bodies].concat()
}

/// Each local is another's value, in each of so many loops within each other: a value for each in each.
pub fn many_values(locals: usize, loops: usize) -> Vec<u8> {
    let mut code = [LOOP, EMPTY].repeat(loops);
    for local in 1..locals {
        code.push(LOCAL_GET);
        code.extend(leb(local - 1));
        code.push(LOCAL_SET);
        code.extend(leb(local));
    }
    for depth in 0..loops {
        code.extend([LOCAL_GET, 0, BR_IF]);
        code.extend(leb(depth));
    }
    code.extend([END].repeat(loops));
    module(1, locals, &code)
}

/// Functions that compute for long without a branch.
pub fn many_functions(functions: usize, steps: usize) -> Vec<u8> {
    let step = [LOCAL_GET, 0, LOCAL_GET, 1, I32_MUL, LOCAL_SET, 0, LOCAL_GET, 0, I32_CONST, 3, I32_MUL, LOCAL_SET, 1];
    module(functions, 2, &step.repeat(steps))
}

/// Loops within loops.
pub fn nested(depth: usize) -> Vec<u8> {
    module(1, 1, &[[LOOP, EMPTY].repeat(depth), [END].repeat(depth)].concat())
}
