//! Certificates for tests, made by `openssl`, two days long good.

use std::process::Command;
use tempfile::TempDir;

/// A directory of certificates and their keys: `name.crt` and `name.key`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Certificates {
        Certificates(tempfile::tempdir().expect("temporary directory"))
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// One whose common name and only DNS name are `name`, signed by an authority or by itself.
    pub(crate) fn make(&self, name: &str, authority: Option<&str>) {
        let dns = format!("subjectAltName=DNS:{name}");
        let mut words = vec!["-addext", &dns, "-addext", "basicConstraints=critical,CA:FALSE"];
        let files = authority.map(|of| (format!("{of}.crt"), format!("{of}.key")));
        if let Some((certificate, key)) = &files {
            words.extend(["-CA", certificate, "-CAkey", key]);
        }
        self.openssl(name, &words);
    }

    /// One that others are signed with.
    pub(crate) fn authority(&self, name: &str) {
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
