//! The example of the README is the one of the crate's documentation, which compiles.

/// The lines between the fence that begins with `open` and the next one.
fn example(text: &str, open: &str) -> Vec<String> {
    let lines = text.lines().map(str::to_owned);
    lines.skip_while(|line| line != open).skip(1).take_while(|line| line != "```").collect()
}

#[test]
fn the_readme_shows_the_example_that_compiles() {
    let source = include_str!("../src/lib.rs").lines().filter_map(|line| line.strip_prefix("//!"));
    let documentation: Vec<&str> = source.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let compiled = example(&documentation.join("\n"), "```no_run");
    assert!(!compiled.is_empty());
    assert_eq!(example(include_str!("../../../README.md"), "```rust"), compiled);
}
