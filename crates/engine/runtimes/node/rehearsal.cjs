// The function that a process which is started ahead rehearses with.

exports.handler = async (event) => event;
