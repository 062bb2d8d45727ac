// Lets ES modules find packages in the directories of NODE_PATH, after Node's own places, as AWS's runtimes do.

let places = [];

/** The thread of `module.register` is given them. */
export function initialize(data) {
  places = data;
}

/** Only a package's name is looked up elsewhere, and only where it was not found. */
function isMissingPackage(specifier, error) {
  return error?.code === "ERR_MODULE_NOT_FOUND" && /^[^./#][^:]*$/.test(specifier);
}

/** As though a module beside the `node_modules` directory asked. */
function beside(place, context) {
  return { ...context, parentURL: `file://${place.replace(/node_modules\/*$/, "")}index.mjs` };
}

/** For `module.register`, before Node.js 22.15. */
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isMissingPackage(specifier, error)) throw error;
    for (const place of places) {
      try {
        return await next(specifier, beside(place, context));
      } catch (elsewhere) {
        if (elsewhere?.code !== "ERR_MODULE_NOT_FOUND") throw elsewhere;
      }
    }
    throw error;
  }
}

/** For `module.registerHooks`. */
export function inThread(dirs) {
  const resolve = (specifier, context, next) => {
    try {
      return next(specifier, context);
    } catch (error) {
      if (!isMissingPackage(specifier, error)) throw error;
      for (const place of dirs) {
        try {
          return next(specifier, beside(place, context));
        } catch (elsewhere) {
          if (elsewhere?.code !== "ERR_MODULE_NOT_FOUND") throw elsewhere;
        }
      }
      throw error;
    }
  };
  return { resolve };
}
