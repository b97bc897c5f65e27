//! Writes the Rust bindings of mlx-c, as mlx-sys's own build script would.
//!
//! Knows where mlx-sys lies (`MLX_SYS`, when this is compiled) and takes over its settings from
//! there. Arguments: the file to write, then arguments for clang.

use std::error::Error;
use std::path::Path;

use bindgen::Formatter;

/// What mlx-sys's build script uses: which headers, which options.
#[allow(dead_code, reason = "the file also serves mlx-sys's build script")]
mod settings {
    include!(concat!(env!("MLX_SYS"), "/src/bindgen_config.rs"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: OUT [CLANG ARGUMENT]…")?;
    let mlx_c = Path::new(concat!(env!("MLX_SYS"), "/src/mlx-c"));
    let headers = settings::discover_headers(mlx_c)?;
    settings::builder(mlx_c, &headers)
        .clang_args(arguments)
        .formatter(Formatter::None)
        .generate()?
        .write_to_file(out)?;
    Ok(())
}
