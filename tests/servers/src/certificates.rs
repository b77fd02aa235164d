//! Certificates for tests, made by `openssl` and valid for two days.

use std::process::Command;
use tempfile::TempDir;

/// A directory of certificates and their keys, `name.crt` and `name.key`. It is removed when the value is dropped.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// Creates an empty directory.
    #[expect(clippy::new_without_default, reason = "making a directory is no default")]
    pub fn new() -> Certificates {
        Certificates(tempfile::tempdir().expect("temporary directory"))
    }

    /// Returns the path of a file in the directory.
    pub fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Makes a certificate whose common name and only DNS name are `name`, signed by an authority or by itself.
    pub fn make(&self, name: &str, authority: Option<&str>) {
        let dns = format!("subjectAltName=DNS:{name}");
        let mut words = vec!["-addext", &dns, "-addext", "basicConstraints=critical,CA:FALSE"];
        let files = authority.map(|of| (format!("{of}.crt"), format!("{of}.key")));
        if let Some((certificate, key)) = &files {
            words.extend(["-CA", certificate, "-CAkey", key]);
        }
        self.openssl(name, &words);
    }

    /// Makes a certificate that others are signed with.
    pub fn authority(&self, name: &str) {
        self.openssl(name, &["-addext", "basicConstraints=critical,CA:TRUE"]);
    }

    fn openssl(&self, name: &str, words: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
        openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]).args(words);
        let made = openssl.current_dir(self.0.path()).output().expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}
