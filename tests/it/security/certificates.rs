//! Certificates are checked, and secrets need TLS.

use super::ask;
use crate::harness::{Place, run};
use crate::recorder::Recorder;

#[test]
fn row_15_certificates_are_checked_and_secrets_need_tls() {
    let (place, origin) = (Place::new(), Recorder::start());
    let own = throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let wrong_name = throng_mock::ServerCertificate::self_signed(["other.example"]).unwrap();
    let roots = place.file("own.pem", &format!("{}{}", own.certificate, wrong_name.certificate));
    let right = crate::terminator::http1_only(&own, origin.addr());
    let wrong = crate::terminator::http1_only(&wrong_name, origin.addr());
    let stranger = crate::terminator::http1_only(
        &throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap(),
        origin.addr(),
    );
    for (addr, flags, code) in [
        (right, format!("--cacert {roots}"), 0),
        (right, format!("--cacert {roots} --tls-min 1.3"), 0),
        (wrong, format!("--cacert {roots}"), 3),
        (stranger, format!("--cacert {roots}"), 3),
        (stranger, "--insecure".to_owned(), 0),
        (right, "--cacert /no/such".to_owned(), 2),
    ] {
        origin.forget();
        let ended = ask(&place, &format!("https://{addr}/"))
            .flags(&flags)
            .flags("--retries 0 --summary-json")
            .flags(&place.path("summary.json"))
            .exits(code);
        assert_eq!(origin.came().len(), usize::from(code == 0), "{flags}");
        if code == 0 {
            let summary = place.json("summary.json");
            if flags == "--insecure" {
                ended
                    .says("WARNING: certificates are NOT checked")
                    .says("WARNING: certificates were NOT checked");
                assert_eq!(summary["insecure"], true);
            } else {
                assert_eq!(summary.get("insecure"), None)
            }
        }
    }
    let plain = |flags: &str| {
        ask(&place, "http://plain.example:1/")
            .flags(&format!(
                "--resolve plain.example:1:127.0.0.1 --retries 0 --max-wait 1s {flags}"
            ))
            .ends()
    };
    plain("").with_code(2).says("a secret would go to plain.example over http://");
    plain("--allow-plain").with_code(3).says("can't be reached");
}

#[test]
fn a_row_s_host_gets_no_secret_in_clear_however_its_answers_are_read() {
    for (url, flags) in [
        ("http://{{ host }}:1/", ""),
        ("http://{{ host }}:1/", "--each .items[]"),
        ("http://{{ host }}:1/", "--next link --extract x=.x"),
        ("http://{{ host }}:1/", "--page number=1 --max-pages 3 --extract x=.x"),
        ("http://{{ host[0] }}:1/", "--batch 2 --each .items[] --match id=.id"),
    ] {
        let place = Place::new();
        let input = place.file("rows.csv", "id,host\n1,plain.example\n2,plain.example\n");
        let ended = run()
            .arg("--url", url)
            .arg("--header", "x-key: {{ env.CANARY }}")
            .env("CANARY", "canary-4711")
            .arg("--input", &input)
            .flags("--allow-host plain.example:1 --resolve plain.example:1:127.0.0.1 --retries 0")
            .flags(flags)
            .ends();
        ended.says("a secret would go to plain.example over http://");
        assert!(!ended.stderr.contains("can't be reached"), "{flags}");
    }
}
