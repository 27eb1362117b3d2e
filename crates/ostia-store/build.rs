fn main() {
    // The macro that embeds the migrations does not notice new files.
    println!("cargo::rerun-if-changed=migrations");
}
