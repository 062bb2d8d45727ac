//! Listings, page by page.

use super::rig::Rig;
use serde_json::{Value, json};

/// All values of `member` over all pages of `size`, and how many pages there were.
async fn walk(rig: &Rig, operation: &str, mut input: Value, list: &str, member: &str) -> (Vec<String>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = rig.ok(operation, input.clone()).await;
        let items = page[list].as_array().expect("a list");
        seen.extend(items.iter().map(|i| i[member].as_str().expect("text").to_owned()));
        pages += 1;
        match page.get("NextMarker") {
            Some(marker) => input["Marker"] = marker.clone(),
            None => return (seen, pages),
        }
    }
}

#[tokio::test]
async fn functions_in_pages() {
    let rig = Rig::new();
    let names: Vec<String> = (0..5).map(|i| format!("f{i}")).collect();
    for name in &names {
        rig.create(name).await;
    }
    let (seen, pages) = walk(&rig, "ListFunctions", json!({"MaxItems": 2}), "Functions", "FunctionName").await;
    assert_eq!((seen, pages), (names, 3));
    let one = rig.ok("ListFunctions", json!({"MaxItems": 1})).await;
    assert!(one["Functions"][0].get("State").is_none(), "a listing has no states");
    let bad = json!({"Marker": "../../x"});
    rig.refused("ListFunctions", bad, "InvalidParameterValueException", "Invalid pagination token").await;
    let elsewhere = rig.ok("ListFunctions", json!({"MasterRegion": "eu-west-1", "FunctionVersion": "ALL"})).await;
    assert_eq!(elsewhere["Functions"], json!([]));
}

#[tokio::test]
async fn all_versions_of_all_functions() {
    let rig = Rig::new();
    for name in ["a", "b"] {
        rig.create(name).await;
        for text in ["2", "3"] {
            rig.ok("PublishVersion", json!({"FunctionName": name})).await;
            rig.update(name, text).await;
        }
    }
    rig.create("c").await;
    let arn = |s: &str| format!("arn:aws:lambda:us-east-1:000000000000:function:{s}");
    let expect: Vec<String> =
        ["a:$LATEST", "a:1", "a:2", "b:$LATEST", "b:1", "b:2", "c:$LATEST"].into_iter().map(arn).collect();
    for size in [1, 2, 3, 50] {
        let input = json!({"FunctionVersion": "ALL", "MaxItems": size});
        let (seen, _) = walk(&rig, "ListFunctions", input, "Functions", "FunctionArn").await;
        assert_eq!(seen, expect, "pages of {size}");
    }
}

#[tokio::test]
async fn versions_and_aliases_in_pages() {
    let rig = Rig::new();
    rig.create("f").await;
    for i in 1..=11 {
        rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
        rig.ok("CreateAlias", json!({"FunctionName": "f", "Name": format!("a{i:02}"), "FunctionVersion": "1"})).await;
        rig.update("f", &i.to_string()).await;
    }
    let expect: Vec<String> = std::iter::once("$LATEST".to_owned()).chain((1..=11).map(|i| i.to_string())).collect();
    for size in [1, 5, 50] {
        let input = json!({"FunctionName": "f", "MaxItems": size});
        let (seen, _) = walk(&rig, "ListVersionsByFunction", input.clone(), "Versions", "Version").await;
        assert_eq!(seen, expect, "pages of {size}");
        let (aliases, _) = walk(&rig, "ListAliases", input, "Aliases", "Name").await;
        assert_eq!(aliases.len(), 11);
    }
}
