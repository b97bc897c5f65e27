//! The JSON Schema of scenario files, for editors.

use schemars::generate::SchemaSettings;

use super::wire::ScenarioWire;

/// Draft-07, which the YAML language servers of editors understand.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<ScenarioWire>().to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every object with fixed properties refuses others, as the reader does.
    fn check(schema: &Value) {
        if let Some(object) = schema.as_object() {
            if object.contains_key("properties") {
                assert_eq!(
                    object.get("additionalProperties"),
                    Some(&Value::Bool(false)),
                    "{schema}"
                );
            }
            object.values().for_each(check);
        }
        if let Some(items) = schema.as_array() {
            items.iter().for_each(check);
        }
    }

    #[test]
    fn the_schema_is_as_strict_as_the_reader() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(
            schema["required"],
            serde_json::json!(["version", "description", "why", "tests"])
        );
        check(&schema);
    }
}
