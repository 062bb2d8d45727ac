// What a process that is started ahead requires, so that the loader has been at work before the function is known.
exports.nothing = undefined;
