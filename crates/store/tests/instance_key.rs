//! The file with the instance key: made once, for its owner alone, and refused where it is not what it should be.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_balance_store::{
    PrivateFileError,
    instance_key::{InstanceKeyError, create, read},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const KEY: [u8; 32] = [0xa7; 32];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |file| file.permissions().mode() & 0o7777)
}

#[test]
fn a_key_is_read_back_as_it_was_written_and_belongs_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/deeper/instance.key");
    assert_eq!(read(&path).unwrap(), None);
    create(&path, &KEY).unwrap();
    assert_eq!(read(&path).unwrap(), Some(KEY));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(
        matches!(create(&path, &[1; 32]), Err(InstanceKeyError::Appeared(at)) if at == path),
        "one that is there is kept"
    );
    assert_eq!(read(&path).unwrap(), Some(KEY));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.key");
    create(&path, &KEY).unwrap();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, InstanceKeyError::File(PrivateFileError::Exposed(_, found)) if found == mode),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(read(&path).unwrap(), Some(KEY));
}

#[test]
fn a_key_may_be_made_by_hand_and_nothing_else_is_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.key");
    let put = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        read(&path)
    };
    assert_eq!(put(&KEY).unwrap(), Some(KEY));
    assert_eq!(put(STANDARD.encode(KEY).as_bytes()).unwrap(), Some(KEY));
    assert_eq!(put(format!(" {}\r\n", STANDARD.encode(KEY)).as_bytes()).unwrap(), Some(KEY));
    for wrong in [&b""[..], b"short", &[7; 31], &[7; 33], STANDARD.encode([1; 31]).as_bytes()] {
        let error = put(wrong).unwrap_err();
        assert!(matches!(error, InstanceKeyError::NotAKey(_)), "{error}");
        assert!(!error.to_string().contains("short"), "what is in it is not repeated");
    }
}
