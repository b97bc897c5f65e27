//! stub
/// stub
pub fn html(_: &crate::record::Record) -> String {
    String::new()
}
