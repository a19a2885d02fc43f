// The kernels as this plugin carries them: a fat binary for each file of cuda/kernels, with machine code for some
// architectures and PTX for later ones. Made by CMake.
#pragma once

namespace octavo::cuda {

struct Image {
  const char* file;
  const unsigned char* bytes;
};
extern const Image images[];
extern const int image_count;

}  // namespace octavo::cuda
