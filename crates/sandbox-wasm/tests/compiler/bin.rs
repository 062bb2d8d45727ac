//! The process that compiles, for tests: what our binary is with the verb of the same name.

fn main() {
    sandbox_wasm::compiler_main()
}
