// A ModelDesc that nobody checked: create, load, and one step on the CPU backend where it is small enough to be quick.
#pragma once
#include <string>

#include "cases.h"
#include "error.h"
#include "model/model.h"

namespace octavo::fuzz {

// What an Error means for an input: a refusal, or a broken promise when no file should cause its code.
Outcome refusal(const Error& error);

// "" or the promise that was broken; throws Error as the model does.
std::string run_model(ModelDesc desc);

}  // namespace octavo::fuzz
