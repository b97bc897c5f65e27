//! The models compiled into the binary. How they were made stands in `models/README.md`.

/// The files of one model, by name.
type Files = &'static [(&'static str, &'static [u8])];

macro_rules! model {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$((
            $file,
            include_bytes!(concat!("../../models/", $folder, "/", $file)).as_slice(),
        )),+]
    };
}

const MODELS: &[(&str, Files)] = &[(
    "readme",
    model!["readme":
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)];

/// The names of all built-in models, as users write them.
#[must_use]
pub fn names() -> Vec<String> {
    MODELS
        .iter()
        .map(|(name, _)| format!("builtin:{name}"))
        .collect()
}

/// The files of a built-in model.
pub(super) fn files(name: &str) -> Option<Files> {
    MODELS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, files)| *files)
}

/// One file of a built-in model.
pub(super) fn file(name: &str, file: &str) -> Option<&'static [u8]> {
    files(name)?
        .iter()
        .find(|(known, _)| *known == file)
        .map(|(_, bytes)| *bytes)
}
