//! The Lambda API: the operation table, and what each operation touches.

mod account;
mod aliases;
mod capacity;
mod concurrency;
mod configuration;
mod create;
mod delete;
mod event_config;
mod invoke;
mod layer_permissions;
mod layers;
mod mappings;
mod options;
mod permissions;
mod provisioned;
mod read;
mod recursion;
#[rustfmt::skip]
pub mod shapes;
mod tags;
mod update;
mod urls;
mod versions;

use crate::Functions;
use crate::model::{CODE_REQUEST_BYTES_MAX, PAYLOAD_BYTES_MAX, name};
use base::port::Access;
use room::{Context, Table, TableRoom};
use shapes as s;
use std::sync::Arc;

/// Room for a payload that is just too large, so that the operation itself can say so in AWS's words.
const INVOKE_BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (1 << 20);

/// The operations of the Lambda API, bound to their room.
pub fn room(functions: Arc<Functions>) -> TableRoom<Functions> {
    let table = Table::new(&shapes::SERVICE);
    let table = mapping_operations(layer_operations(side_operations(function_operations(table))));
    capacity_operations(table).room(functions)
}

/// An action on the function that a request names.
fn on(cx: &Context, action: &str, named: &str, qualifier: Option<&str>) -> Access {
    let resource = match name::function(cx.scope(), named, qualifier) {
        Ok(named) => name::arn_of(&named).to_string(),
        // It will be refused; until then it is authorised as it is written.
        Err(_) => named.to_owned(),
    };
    Access { action: action.to_owned(), resource }
}

/// An action on no function in particular.
fn everywhere(action: &str) -> Access {
    Access { action: action.to_owned(), resource: "*".to_owned() }
}

fn on_layer(cx: &Context, action: &str, layer: &str, version: Option<i64>) -> Access {
    let layer = name::layer(cx.scope(), layer).unwrap_or_else(|_| layer.to_owned());
    let resource = match version {
        Some(version) => format!("{}:{version}", name::layer_arn(cx.scope(), &layer)),
        None => name::layer_arn(cx.scope(), &layer).to_string(),
    };
    Access { action: action.to_owned(), resource }
}

fn on_arn(action: &str, arn: &str) -> Access {
    Access { action: action.to_owned(), resource: arn.to_owned() }
}

/// An entry whose input has a `function_name` and no qualifier, or (`q`) a qualifier too.
macro_rules! function_op {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |cx, i: &$input| on(cx, concat!("lambda:", $name), &i.function_name, None), $run)
    };
    ($table:expr, $name:literal, $input:ty, $run:path, q) => {
        $table.op(
            $name,
            |cx, i: &$input| on(cx, concat!("lambda:", $name), &i.function_name, i.qualifier.as_deref()),
            $run,
        )
    };
}

fn function_operations(t: Table<Functions>) -> Table<Functions> {
    let t = t
        .large_op(
            "CreateFunction",
            CODE_REQUEST_BYTES_MAX,
            |cx, i: &s::CreateFunctionRequest| on(cx, "lambda:CreateFunction", &i.function_name, None),
            create::create_function,
        )
        .large_op(
            "UpdateFunctionCode",
            CODE_REQUEST_BYTES_MAX,
            |cx, i: &s::UpdateFunctionCodeRequest| on(cx, "lambda:UpdateFunctionCode", &i.function_name, None),
            update::update_function_code,
        )
        .large_op(
            "Invoke",
            INVOKE_BODY_BYTES_MAX,
            |cx, i: &s::InvocationRequest| on(cx, "lambda:InvokeFunction", &i.function_name, i.qualifier.as_deref()),
            invoke::invoke,
        )
        .large_op(
            "InvokeWithResponseStream",
            INVOKE_BODY_BYTES_MAX,
            |cx, i: &s::InvokeWithResponseStreamRequest| {
                on(cx, "lambda:InvokeFunction", &i.function_name, i.qualifier.as_deref())
            },
            invoke::invoke_with_response_stream,
        )
        .op("ListFunctions", |_, _: &s::ListFunctionsRequest| everywhere("lambda:ListFunctions"), read::list_functions);
    let t = function_op!(t, "GetFunction", s::GetFunctionRequest, read::get_function, q);
    let t = function_op!(
        t,
        "GetFunctionConfiguration",
        s::GetFunctionConfigurationRequest,
        read::get_function_configuration,
        q
    );
    let t = function_op!(
        t,
        "UpdateFunctionConfiguration",
        s::UpdateFunctionConfigurationRequest,
        update::update_function_configuration
    );
    let t = function_op!(t, "DeleteFunction", s::DeleteFunctionRequest, delete::delete_function, q);
    let t = function_op!(t, "PublishVersion", s::PublishVersionRequest, versions::publish_version);
    let t = function_op!(t, "ListVersionsByFunction", s::ListVersionsByFunctionRequest, versions::list_versions);
    let t = function_op!(t, "CreateAlias", s::CreateAliasRequest, aliases::create_alias);
    let t = function_op!(t, "GetAlias", s::GetAliasRequest, aliases::get_alias);
    let t = function_op!(t, "UpdateAlias", s::UpdateAliasRequest, aliases::update_alias);
    let t = function_op!(t, "DeleteAlias", s::DeleteAliasRequest, aliases::delete_alias);
    function_op!(t, "ListAliases", s::ListAliasesRequest, aliases::list_aliases)
}

fn side_operations(t: Table<Functions>) -> Table<Functions> {
    let t = function_op!(t, "AddPermission", s::AddPermissionRequest, permissions::add_permission, q);
    let t = function_op!(t, "RemovePermission", s::RemovePermissionRequest, permissions::remove_permission, q);
    let t = function_op!(t, "GetPolicy", s::GetPolicyRequest, permissions::get_policy, q);
    let t = function_op!(t, "CreateFunctionUrlConfig", s::CreateFunctionUrlConfigRequest, urls::create_url, q);
    let t = function_op!(t, "GetFunctionUrlConfig", s::GetFunctionUrlConfigRequest, urls::get_url, q);
    let t = function_op!(t, "UpdateFunctionUrlConfig", s::UpdateFunctionUrlConfigRequest, urls::update_url, q);
    let t = function_op!(t, "DeleteFunctionUrlConfig", s::DeleteFunctionUrlConfigRequest, urls::delete_url, q);
    let t = function_op!(t, "ListFunctionUrlConfigs", s::ListFunctionUrlConfigsRequest, urls::list_urls);
    let t = function_op!(t, "PutFunctionConcurrency", s::PutFunctionConcurrencyRequest, concurrency::put);
    let t = function_op!(t, "GetFunctionConcurrency", s::GetFunctionConcurrencyRequest, concurrency::get);
    let t = function_op!(t, "DeleteFunctionConcurrency", s::DeleteFunctionConcurrencyRequest, concurrency::delete);
    let t = function_op!(t, "PutFunctionRecursionConfig", s::PutFunctionRecursionConfigRequest, recursion::put);
    let t = function_op!(t, "GetFunctionRecursionConfig", s::GetFunctionRecursionConfigRequest, recursion::get);
    let t = provisioned_operations(t);
    let t =
        function_op!(t, "PutFunctionEventInvokeConfig", s::PutFunctionEventInvokeConfigRequest, event_config::put, q);
    let t = function_op!(
        t,
        "UpdateFunctionEventInvokeConfig",
        s::UpdateFunctionEventInvokeConfigRequest,
        event_config::update,
        q
    );
    let t =
        function_op!(t, "GetFunctionEventInvokeConfig", s::GetFunctionEventInvokeConfigRequest, event_config::get, q);
    let t = function_op!(
        t,
        "DeleteFunctionEventInvokeConfig",
        s::DeleteFunctionEventInvokeConfigRequest,
        event_config::delete,
        q
    );
    function_op!(t, "ListFunctionEventInvokeConfigs", s::ListFunctionEventInvokeConfigsRequest, event_config::list)
        .op("TagResource", |_, i: &s::TagResourceRequest| on_arn("lambda:TagResource", &i.resource), tags::tag)
        .op("UntagResource", |_, i: &s::UntagResourceRequest| on_arn("lambda:UntagResource", &i.resource), tags::untag)
        .op("ListTags", |_, i: &s::ListTagsRequest| on_arn("lambda:ListTags", &i.resource), tags::list)
        .op(
            "GetAccountSettings",
            |_, _: &s::GetAccountSettingsRequest| everywhere("lambda:GetAccountSettings"),
            account::get_account_settings,
        )
}

/// An entry whose input names a version or an alias.
macro_rules! qualified_op {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |cx, i: &$input| on(cx, concat!("lambda:", $name), &i.function_name, Some(&i.qualifier)), $run)
    };
}

fn provisioned_operations(t: Table<Functions>) -> Table<Functions> {
    let t = qualified_op!(
        t,
        "PutProvisionedConcurrencyConfig",
        s::PutProvisionedConcurrencyConfigRequest,
        provisioned::put
    );
    let t = qualified_op!(
        t,
        "GetProvisionedConcurrencyConfig",
        s::GetProvisionedConcurrencyConfigRequest,
        provisioned::get
    );
    let t = qualified_op!(
        t,
        "DeleteProvisionedConcurrencyConfig",
        s::DeleteProvisionedConcurrencyConfigRequest,
        provisioned::delete
    );
    function_op!(t, "ListProvisionedConcurrencyConfigs", s::ListProvisionedConcurrencyConfigsRequest, provisioned::list)
}

/// An entry whose input names a layer's version.
macro_rules! layer_op {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op(
            $name,
            |cx, i: &$input| on_layer(cx, concat!("lambda:", $name), &i.layer_name, Some(i.version_number)),
            $run,
        )
    };
}

fn layer_operations(t: Table<Functions>) -> Table<Functions> {
    let t = t
        .large_op(
            "PublishLayerVersion",
            CODE_REQUEST_BYTES_MAX,
            |cx, i: &s::PublishLayerVersionRequest| on_layer(cx, "lambda:PublishLayerVersion", &i.layer_name, None),
            layers::publish,
        )
        .op(
            "GetLayerVersionByArn",
            |_, i: &s::GetLayerVersionByArnRequest| on_arn("lambda:GetLayerVersion", &i.arn),
            layers::get_by_arn,
        )
        .op("ListLayers", |_, _: &s::ListLayersRequest| everywhere("lambda:ListLayers"), layers::list)
        .op(
            "ListLayerVersions",
            |cx, i: &s::ListLayerVersionsRequest| on_layer(cx, "lambda:ListLayerVersions", &i.layer_name, None),
            layers::list_versions,
        );
    let t = layer_op!(t, "GetLayerVersion", s::GetLayerVersionRequest, layers::get);
    let t = layer_op!(t, "DeleteLayerVersion", s::DeleteLayerVersionRequest, layers::delete);
    let t = layer_op!(t, "AddLayerVersionPermission", s::AddLayerVersionPermissionRequest, layer_permissions::add);
    let t =
        layer_op!(t, "RemoveLayerVersionPermission", s::RemoveLayerVersionPermissionRequest, layer_permissions::remove);
    layer_op!(t, "GetLayerVersionPolicy", s::GetLayerVersionPolicyRequest, layer_permissions::get)
}

/// An entry whose input names a mapping.
macro_rules! mapping_op {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op(
            $name,
            |cx, i: &$input| on_arn(concat!("lambda:", $name), &mappings::arn(cx.scope(), &i.uuid).to_string()),
            $run,
        )
    };
}

fn mapping_operations(t: Table<Functions>) -> Table<Functions> {
    let t = t
        .op(
            "CreateEventSourceMapping",
            |cx, i: &s::CreateEventSourceMappingRequest| {
                on(cx, "lambda:CreateEventSourceMapping", &i.function_name, None)
            },
            mappings::create,
        )
        .op(
            "ListEventSourceMappings",
            |_, _: &s::ListEventSourceMappingsRequest| everywhere("lambda:ListEventSourceMappings"),
            mappings::list,
        );
    let t = mapping_op!(t, "GetEventSourceMapping", s::GetEventSourceMappingRequest, mappings::get);
    let t = mapping_op!(t, "UpdateEventSourceMapping", s::UpdateEventSourceMappingRequest, mappings::update);
    mapping_op!(t, "DeleteEventSourceMapping", s::DeleteEventSourceMappingRequest, mappings::delete)
}

/// An entry whose input names a capacity provider.
macro_rules! provider_op {
    ($table:expr, $name:literal, $input:ty, $run:path) => {
        $table.op($name, |cx, i: &$input| on_provider(cx, concat!("lambda:", $name), &i.capacity_provider_name), $run)
    };
}

fn on_provider(cx: &Context, action: &str, named: &str) -> Access {
    match named.starts_with("arn:") {
        true => on_arn(action, named),
        false => on_arn(action, &name::capacity_provider_arn(cx.scope(), named).to_string()),
    }
}

fn capacity_operations(t: Table<Functions>) -> Table<Functions> {
    let t = t.op(
        "ListCapacityProviders",
        |_, _: &s::ListCapacityProvidersRequest| everywhere("lambda:ListCapacityProviders"),
        capacity::list,
    );
    let t = provider_op!(t, "CreateCapacityProvider", s::CreateCapacityProviderRequest, capacity::create);
    let t = provider_op!(t, "GetCapacityProvider", s::GetCapacityProviderRequest, capacity::get);
    let t = provider_op!(t, "UpdateCapacityProvider", s::UpdateCapacityProviderRequest, capacity::update);
    let t = provider_op!(t, "DeleteCapacityProvider", s::DeleteCapacityProviderRequest, capacity::delete);
    provider_op!(
        t,
        "ListFunctionVersionsByCapacityProvider",
        s::ListFunctionVersionsByCapacityProviderRequest,
        capacity::list_versions
    )
}

/// A page's size: AWS gives at most 50 items at a time whatever is asked.
fn page_size(asked: Option<i32>) -> usize {
    asked.and_then(|n| usize::try_from(n).ok()).unwrap_or(50).clamp(1, 50)
}
