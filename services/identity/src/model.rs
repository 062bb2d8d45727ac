//! The rules: principals' names and who may do what. No IO.
//!
//! For now there are no policies: the root of an account, and the sessions of its functions, may do everything within
//! that account, and nobody may do anything in another. Policies will be decided in [`decide`] and nowhere else.

use crate::session::Session;
use base::port::{Access, Denied};
use base::{AccountId, Arn, Caller};

/// AWS's bound on `RoleSessionName`.
const SESSION_NAME_CHARS_MAX: usize = 64;

pub fn root_arn(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}

pub fn session_arn(session: &Session) -> String {
    format!("arn:aws:sts::{}:assumed-role/{}/{}", session.account, session.role, session.session)
}

/// The name in a role's ARN, without its path: `arn:aws:iam::000000000000:role/service/thumbs` → `thumbs`.
pub fn role_name(role: &str) -> &str {
    role.rsplit(['/', ':']).next().unwrap_or(role)
}

/// A session name as STS allows it: `[\w+=,.@-]{2,64}`; other characters become `-`.
pub fn session_name(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' };
    text.chars().take(SESSION_NAME_CHARS_MAX).map(legal).collect()
}

/// May the caller? The one place where access is decided.
pub fn decide(caller: &Caller, access: &Access) -> Result<(), Denied> {
    let account = caller.scope.account.as_str();
    if !is_root_or_session(&caller.principal, account) {
        return Err(denied(caller, access, "identity-based"));
    }
    match owner(&access.resource) {
        Some(owner) if owner != account => Err(denied(caller, access, "resource-based")),
        _ => Ok(()),
    }
}

fn is_root_or_session(principal: &str, account: &str) -> bool {
    let Ok(arn) = principal.parse::<Arn>() else { return false };
    let root = arn.service == "iam" && arn.resource == "root";
    let session = arn.service == "sts" && arn.resource.starts_with("assumed-role/");
    arn.account == account && (root || session)
}

/// The account a resource's ARN names. `*` and ARNs without an account (S3) mean the caller's own.
fn owner(resource: &str) -> Option<String> {
    let arn: Arn = resource.parse().ok()?;
    (!arn.account.is_empty() && arn.account != "*").then_some(arn.account)
}

/// AWS's words for a refusal.
fn denied(caller: &Caller, access: &Access, kind: &str) -> Denied {
    let (who, action, resource) = (&caller.principal, &access.action, &access.resource);
    Denied(format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource} because no {kind} policy allows \
         the {action} action"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Region, Scope};

    fn check(principal: &str, resource: &str, expect: bool) {
        let account = AccountId::parse("111122223333").expect("twelve digits");
        let caller = Caller {
            scope: Scope::new(account, Region::parse("us-east-1").expect("a region")),
            access_key: "AKIA".into(),
            principal: principal.into(),
        };
        let access = Access { action: "lambda:GetFunction".into(), resource: resource.into() };
        assert_eq!(decide(&caller, &access).is_ok(), expect, "{principal} on {resource}");
    }

    #[test]
    fn decisions() {
        let root = "arn:aws:iam::111122223333:root";
        let session = "arn:aws:sts::111122223333:assumed-role/thumbs/i-1";
        let own = "arn:aws:lambda:us-east-1:111122223333:function:thumbs";
        for who in [root, session] {
            check(who, own, true);
            check(who, "*", true);
            check(who, "arn:aws:s3:::photos/a.jpg", true);
            check(who, "arn:aws:lambda:us-east-1:444455556666:function:thumbs", false);
        }
        check("arn:aws:iam::444455556666:root", own, false);
        check("arn:aws:iam::111122223333:user/eve", own, false);
        check("anonymous", own, false);
    }

    #[test]
    fn names() {
        assert_eq!(role_name("arn:aws:iam::000000000000:role/service/thumbs"), "thumbs");
        assert_eq!(role_name("thumbs"), "thumbs");
        assert_eq!(session_name("a/b[$LATEST]é"), "a-b--LATEST--");
    }
}
