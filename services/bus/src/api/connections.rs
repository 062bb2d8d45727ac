//! Connections: CreateConnection, DescribeConnection, ListConnections, UpdateConnection, DeauthorizeConnection,
//! DeleteConnection.
//!
//! Differs from AWS: an OAuth connection asks for its first token before CreateConnection answers; secrets are in the
//! node's own store, so that `SecretArn` names nothing that can be read; no KMS keys and private connectivity (refused by
//! name).

use super::*;
use crate::connection::{Auth, OAuth, Secrets, fetch};
use crate::request::{Parameter, Parameters};
use crate::store::{self, Connection as Record, Space};
use ::store::Tx;
use base::Timestamp;
use std::sync::Arc;

/// Of an account in a region.
pub const MAX: usize = 3_000;
type Given = CreateConnectionAuthRequestParameters;

fn lacking(kms: Option<&String>, private: bool, auth: Option<&Given>) -> Result<()> {
    let private = private || auth.is_some_and(|auth| auth.connectivity_parameters.is_some());
    refuse(&[
        (kms.is_some_and(|k| !k.is_empty()), "encryption of connections, KmsKeyIdentifier,"),
        (private, "private connectivity of connections"),
    ])
}

fn parameters(given: Option<ConnectionHttpParameters>) -> Parameters {
    macro_rules! list {
        ($list:expr) => {
            $list
                .unwrap_or_default()
                .into_iter()
                .map(|p| Parameter {
                    key: p.key.unwrap_or_default(),
                    value: p.value.unwrap_or_default(),
                    secret: p.is_value_secret.unwrap_or(false),
                })
                .collect()
        };
    }
    let given = given.unwrap_or_default();
    Parameters {
        headers: list!(given.header_parameters),
        query: list!(given.query_string_parameters),
        body: list!(given.body_parameters),
    }
}

/// The secrets of a new connection, or of one that gets other parameters.
fn secrets(kind: &str, given: Given) -> Result<Secrets> {
    let Given { basic_auth_parameters: basic, api_key_auth_parameters: key, o_auth_parameters: oauth, .. } = given;
    let count = [basic.is_some(), key.is_some(), oauth.is_some()].into_iter().filter(|given| *given).count();
    let auth = match (kind, basic, key, oauth) {
        ("BASIC", Some(given), ..) => Some(Auth::Basic { user: given.username, password: given.password }),
        ("API_KEY", _, Some(given), _) => Some(Auth::ApiKey { name: given.api_key_name, value: given.api_key_value }),
        ("OAUTH_CLIENT_CREDENTIALS", .., Some(given)) => {
            model::check_endpoint("AuthorizationEndpoint", &given.authorization_endpoint)?;
            Some(Auth::OAuth(OAuth {
                client: given.client_parameters.client_id,
                secret: given.client_parameters.client_secret,
                endpoint: given.authorization_endpoint,
                method: given.http_method,
                parameters: parameters(given.o_auth_http_parameters),
            }))
        }
        _ => None,
    };
    let auth = auth.filter(|_| count == 1).map(Some).ok_or_else(|| {
        Error::invalid(format!("The authorization parameters do not match the authorization type {kind}."))
    })?;
    let invocation = parameters(given.invocation_http_parameters);
    crate::cloudevents::check(&invocation)?;
    Ok(Secrets { auth, invocation })
}

/// When it was authorised, or why it is not: only an authorization server can say no.
async fn authorised(bus: &Bus, auth: &Secrets, now: Timestamp) -> (Option<Timestamp>, Option<String>) {
    match &auth.auth {
        Some(Auth::OAuth(oauth)) => match fetch(oauth, &*bus.courier).await {
            Ok(_) => (Some(now), None),
            Err(why) => (None, Some(why)),
        },
        _ => (Some(now), None),
    }
}

fn state(record: &Record) -> String {
    if record.unauthorized.is_none() { "AUTHORIZED" } else { "DEAUTHORIZED" }.to_owned()
}

pub async fn create(bus: Arc<Bus>, cx: Context, input: CreateConnectionRequest) -> Result<CreateConnectionResponse> {
    lacking(
        input.kms_key_identifier.as_ref(),
        input.invocation_connectivity_parameters.is_some(),
        Some(&input.auth_parameters),
    )?;
    let (id, now, name) = (bus.entropy.uuid(), bus.clock.now(), &input.name);
    let secrets = secrets(&input.authorization_type, input.auth_parameters)?;
    full(&bus, &store::connections(cx.scope())).await?;
    let (authorized, unauthorized) = authorised(&bus, &secrets, now).await;
    let arn = model::connection_arn(cx.scope(), name, &id);
    let record = Record {
        secrets: secrets.seal(&bus.seal, &arn),
        id,
        arn,
        created: now,
        modified: now,
        authorized,
        description: input.description,
        kind: input.authorization_type,
        unauthorized,
    };
    let key = Space::Connection(cx.scope(), name).key();
    bus.store
        .transact(async |tx: Tx| match tx.get::<Record>(&key).await? {
            Some(_) => Err(Error::Exists(format!("Connection {name}"))),
            None => Ok(tx.put(&key, &record)?),
        })
        .await?;
    Ok(CreateConnectionResponse {
        connection_state: Some(state(&record)),
        connection_arn: Some(record.arn),
        creation_time: Some(now.seconds()),
        last_modified_time: Some(now.seconds()),
    })
}

/// Refuses one more of what lies under `all` than an account may have.
pub async fn full(bus: &Bus, all: &::store::Key) -> Result<()> {
    let there = bus.store.scan(all.as_bytes(), &all.end(), MAX).await?.len();
    if there < MAX { Ok(()) } else { Err(Error::TooMany) }
}

async fn found(bus: &Bus, scope: &Scope, name: &str) -> Result<Record> {
    let found = bus.store.get(&Space::Connection(scope, name).key()).await?;
    found.ok_or_else(|| model::no_connection(name))
}

pub async fn describe(
    bus: Arc<Bus>,
    cx: Context,
    input: DescribeConnectionRequest,
) -> Result<DescribeConnectionResponse> {
    let record = found(&bus, cx.scope(), &input.name).await?;
    let secrets = Secrets::open(&bus.seal, &record.arn, &record.secrets).unwrap_or_default();
    let scope = cx.scope();
    let secret = format!("secret:events!connection/{}/{}", input.name, record.id);
    let secret = base::Arn::new("secretsmanager", scope.region.as_str(), scope.account.as_str(), secret).to_string();
    Ok(DescribeConnectionResponse {
        connection_state: Some(state(&record)),
        connection_arn: Some(record.arn),
        name: Some(input.name),
        description: record.description,
        state_reason: record.unauthorized,
        authorization_type: Some(record.kind),
        secret_arn: Some(secret),
        auth_parameters: Some(shown(secrets)),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(record.modified.seconds()),
        last_authorized_time: record.authorized.map(Timestamp::seconds),
        ..Default::default()
    })
}

/// What may be shown: no password, no key, no secret, and no value that was said to be one.
fn shown(secrets: Secrets) -> ConnectionAuthResponseParameters {
    let mut shape = ConnectionAuthResponseParameters {
        invocation_http_parameters: shown_parameters(secrets.invocation),
        ..Default::default()
    };
    match secrets.auth {
        None => {}
        Some(Auth::Basic { user, .. }) => {
            shape.basic_auth_parameters = Some(ConnectionBasicAuthResponseParameters { username: Some(user) });
        }
        Some(Auth::ApiKey { name, .. }) => {
            shape.api_key_auth_parameters = Some(ConnectionApiKeyAuthResponseParameters { api_key_name: Some(name) });
        }
        Some(Auth::OAuth(oauth)) => {
            shape.o_auth_parameters = Some(ConnectionOAuthResponseParameters {
                client_parameters: Some(ConnectionOAuthClientResponseParameters { client_id: Some(oauth.client) }),
                authorization_endpoint: Some(oauth.endpoint),
                http_method: Some(oauth.method),
                o_auth_http_parameters: shown_parameters(oauth.parameters),
            });
        }
    }
    shape
}

fn shown_parameters(given: Parameters) -> Option<ConnectionHttpParameters> {
    macro_rules! list {
        ($list:expr, $shape:ident) => {
            (!$list.is_empty()).then(|| {
                let shape = |p: Parameter| $shape {
                    key: Some(p.key),
                    value: (!p.secret).then_some(p.value),
                    is_value_secret: Some(p.secret),
                };
                $list.into_iter().map(shape).collect()
            })
        };
    }
    let shape = ConnectionHttpParameters {
        header_parameters: list!(given.headers, ConnectionHeaderParameter),
        query_string_parameters: list!(given.query, ConnectionQueryStringParameter),
        body_parameters: list!(given.body, ConnectionBodyParameter),
    };
    (shape != ConnectionHttpParameters::default()).then_some(shape)
}

pub async fn list(bus: Arc<Bus>, cx: Context, input: ListConnectionsRequest) -> Result<ListConnectionsResponse> {
    let all = store::connections(cx.scope());
    let token = (input.next_token.as_deref(), limit(input.limit));
    let (found, next_token) = page::<Record>(&bus, &all, input.name_prefix.as_deref(), token).await?;
    let wanted = |(_, record): &(String, Record)| input.connection_state.as_ref().is_none_or(|s| *s == state(record));
    let shape = |(name, record): (String, Record)| Connection {
        connection_state: Some(state(&record)),
        connection_arn: Some(record.arn),
        name: Some(name),
        state_reason: record.unauthorized,
        authorization_type: Some(record.kind),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(record.modified.seconds()),
        last_authorized_time: record.authorized.map(Timestamp::seconds),
    };
    let connections = found.into_iter().filter(wanted).map(shape).collect();
    Ok(ListConnectionsResponse { connections: Some(connections), next_token })
}

/// New authorization parameters replace what there was; parameters of one kind that are not given stay.
pub async fn update(bus: Arc<Bus>, cx: Context, input: UpdateConnectionRequest) -> Result<UpdateConnectionResponse> {
    lacking(input.kms_key_identifier.as_ref(), input.invocation_connectivity_parameters.is_some(), None)?;
    let old = found(&bus, cx.scope(), &input.name).await?;
    let opened = Secrets::open(&bus.seal, &old.arn, &old.secrets)
        .map_err(|why| Error::invalid(format!("The connection cannot be read: {why}.")))?;
    let kind = input.authorization_type.unwrap_or_else(|| old.kind.clone());
    let new = match input.auth_parameters {
        None if kind != old.kind => {
            return Err(Error::invalid(format!("Authorization parameters are required for the type {kind}.")));
        }
        None => opened,
        Some(given) => updated(&kind, opened, given)?,
    };
    let now = bus.clock.now();
    let (authorized, unauthorized) = match new.auth {
        Some(_) => authorised(&bus, &new, now).await,
        None => (old.authorized, old.unauthorized.clone()),
    };
    let record = Record {
        secrets: new.seal(&bus.seal, &old.arn),
        modified: now,
        authorized: authorized.or(old.authorized),
        description: input.description.or_else(|| old.description.clone()),
        kind,
        unauthorized,
        ..old.clone()
    };
    replace(&bus, cx.scope(), &input.name, &old, &record).await?;
    Ok(UpdateConnectionResponse {
        connection_state: Some(state(&record)),
        connection_arn: Some(record.arn),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(now.seconds()),
        last_authorized_time: record.authorized.map(Timestamp::seconds),
    })
}

fn updated(kind: &str, old: Secrets, given: UpdateConnectionAuthRequestParameters) -> Result<Secrets> {
    refuse(&[(given.connectivity_parameters.is_some(), "private connectivity of connections")])?;
    let keep_invocation = given.invocation_http_parameters.is_none();
    let (basic, key, oauth) = (given.basic_auth_parameters, given.api_key_auth_parameters, given.o_auth_parameters);
    if basic.is_none() && key.is_none() && oauth.is_none() {
        let invocation = parameters(given.invocation_http_parameters);
        crate::cloudevents::check(&invocation)?;
        return Ok(Secrets { auth: old.auth, invocation });
    }
    let missing = |what: &str| Error::invalid(format!("Parameter {what} is required."));
    let (mut user, mut password, mut name, mut value, mut was) = (None, None, None, None, None);
    match old.auth {
        Some(Auth::Basic { user: u, password: p }) => (user, password) = (Some(u), Some(p)),
        Some(Auth::ApiKey { name: n, value: v }) => (name, value) = (Some(n), Some(v)),
        Some(Auth::OAuth(oauth)) => was = Some(oauth),
        None => {}
    }
    let was = was.as_ref();
    let whole = Given {
        basic_auth_parameters: basic
            .map(|given| {
                Ok::<_, Error>(CreateConnectionBasicAuthRequestParameters {
                    username: given.username.or(user).ok_or_else(|| missing("Username"))?,
                    password: given.password.or(password).ok_or_else(|| missing("Password"))?,
                })
            })
            .transpose()?,
        api_key_auth_parameters: key
            .map(|given| {
                Ok::<_, Error>(CreateConnectionApiKeyAuthRequestParameters {
                    api_key_name: given.api_key_name.or(name).ok_or_else(|| missing("ApiKeyName"))?,
                    api_key_value: given.api_key_value.or(value).ok_or_else(|| missing("ApiKeyValue"))?,
                })
            })
            .transpose()?,
        o_auth_parameters: oauth
            .map(|given| {
                let client = given.client_parameters.unwrap_or_default();
                let or = |given: Option<String>, old: fn(&OAuth) -> &String, what: &str| {
                    given.or_else(|| was.map(|w| old(w).clone())).ok_or_else(|| missing(what))
                };
                Ok::<_, Error>(CreateConnectionOAuthRequestParameters {
                    client_parameters: CreateConnectionOAuthClientRequestParameters {
                        client_id: or(client.client_id, |w| &w.client, "ClientID")?,
                        client_secret: or(client.client_secret, |w| &w.secret, "ClientSecret")?,
                    },
                    authorization_endpoint: or(given.authorization_endpoint, |w| &w.endpoint, "AuthorizationEndpoint")?,
                    http_method: or(given.http_method, |w| &w.method, "HttpMethod")?,
                    o_auth_http_parameters: given.o_auth_http_parameters,
                })
            })
            .transpose()?,
        invocation_http_parameters: given.invocation_http_parameters,
        connectivity_parameters: None,
    };
    let mut new = secrets(kind, whole)?;
    if keep_invocation {
        new.invocation = old.invocation;
    }
    Ok(new)
}

/// Writes a connection that nobody else has changed meanwhile.
async fn replace(bus: &Bus, scope: &Scope, name: &str, old: &Record, new: &Record) -> Result<()> {
    let key = Space::Connection(scope, name).key();
    bus.store
        .transact(async |tx: Tx| match tx.get::<Record>(&key).await? {
            None => Err(model::no_connection(name)),
            Some(there) if there != *old => Err(Error::Changed),
            Some(_) => Ok(tx.put(&key, new)?),
        })
        .await?;
    bus.tokens.forget(old);
    Ok(())
}

/// Takes the secrets out.
pub async fn deauthorize(
    bus: Arc<Bus>,
    cx: Context,
    input: DeauthorizeConnectionRequest,
) -> Result<DeauthorizeConnectionResponse> {
    let old = found(&bus, cx.scope(), &input.name).await?;
    let now = bus.clock.now();
    let record = Record {
        secrets: Secrets::default().seal(&bus.seal, &old.arn),
        modified: now,
        unauthorized: Some("The connection was deauthorized.".into()),
        ..old.clone()
    };
    replace(&bus, cx.scope(), &input.name, &old, &record).await?;
    Ok(DeauthorizeConnectionResponse {
        connection_state: Some(state(&record)),
        connection_arn: Some(record.arn),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(now.seconds()),
        last_authorized_time: record.authorized.map(Timestamp::seconds),
    })
}

pub async fn delete(bus: Arc<Bus>, cx: Context, input: DeleteConnectionRequest) -> Result<DeleteConnectionResponse> {
    let key = Space::Connection(cx.scope(), &input.name).key();
    let record = bus
        .store
        .transact(async |tx: Tx| {
            let record = tx.get::<Record>(&key).await?.ok_or_else(|| model::no_connection(&input.name))?;
            tx.delete(&key);
            Ok::<_, Error>(record)
        })
        .await?;
    bus.tokens.forget(&record);
    Ok(DeleteConnectionResponse {
        connection_arn: Some(record.arn),
        connection_state: Some("DELETING".into()),
        creation_time: Some(record.created.seconds()),
        last_modified_time: Some(record.modified.seconds()),
        last_authorized_time: record.authorized.map(Timestamp::seconds),
    })
}
